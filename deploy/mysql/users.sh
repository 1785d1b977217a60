#!/bin/sh
# Creates MySQL's users for Docker Compose: the image runs this at its first start, after schema.sql.
set -eu

for password in "$IDALLOC_MYSQL_PASSWORD" "$IDALLOC_MYSQL_OPERATOR_PASSWORD"; do
  case $password in
    *[!A-Za-z0-9_-]*)
      echo "users.sh: use letters, digits, - and _ only in passwords" >&2
      exit 1
      ;;
  esac
done

{
  echo "CREATE USER IF NOT EXISTS 'idalloc'@'%' IDENTIFIED BY '$IDALLOC_MYSQL_PASSWORD';"
  echo "CREATE USER IF NOT EXISTS 'idalloc-operator'@'%' IDENTIFIED BY '$IDALLOC_MYSQL_OPERATOR_PASSWORD';"
  cat /etc/idalloc/grants.sql
} | MYSQL_PWD="$MYSQL_ROOT_PASSWORD" mysql --protocol=socket --user=root
