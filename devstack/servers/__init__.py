"""RabbitMQ, MySQL or MariaDB, private or in containers."""
