-- What idalloc needs in MySQL 8 or later, or MariaDB 10.6 or later. Safe to run again: it changes
-- nothing that is there. `idalloc init` does the same for any database and table name.

CREATE DATABASE IF NOT EXISTS id_alloc_db;

USE id_alloc_db;

-- app_tag: ascii_bin compares byte for byte, so that `Order` and `order` are two tags. No collation
-- that both servers have also tells `order` from `order ` with a space at its end; VARBINARY does,
-- but clients show it as hexadecimal. A tag holds no spaces, and idalloc compares the bytes itself.
--
-- max_id: where the next segment begins: every id below it may have been handed out. Lowering it
-- hands ids out twice.
--
-- step: how many ids a worker reserves at a time, at least. A change takes effect at the next
-- reservation, here and in the columns below.
--
-- The rest may be NULL, which is the default, and a table may lack it: `idalloc migrate` adds it.
-- max_step: how many ids a worker reserves at a time, at most.
-- target_cover: how many seconds the ids in a worker's memory should last; 0: `step` is fixed.
-- ceiling: the highest id that may be handed out.
-- allowed_users: RabbitMQ users who may use the tag, with a space between them.
-- ordered: 1 if the ids must rise across all workers.
-- max_count: how many ids one request may ask for.
-- user_rate: how many ids a second one RabbitMQ user may get, from each worker process.
-- new_per_minute: makes the row a pattern, such as `tenant-*`: how many app tags a minute one
-- RabbitMQ user may make by using them, through each worker process.
-- period: `day`, `month` or `year`: ids begin anew in each, in a row such as `invoice@2026-11`, which
-- says `2026-11` here.
-- time_zone: where the periods' days begin, such as `Europe/Berlin`.
-- keep_periods: how many ended periods keep their rows; older ones are removed.
CREATE TABLE IF NOT EXISTS segments (
  app_tag VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  max_id BIGINT NOT NULL DEFAULT 0,
  step BIGINT NOT NULL,
  update_time DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  max_step BIGINT,
  target_cover INT,
  ceiling BIGINT,
  allowed_users VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  ordered TINYINT(1),
  max_count BIGINT,
  user_rate BIGINT,
  new_per_minute BIGINT,
  period VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin,
  time_zone VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
  keep_periods BIGINT,
  PRIMARY KEY (app_tag),
  CHECK (step >= 1)
) ENGINE = InnoDB DEFAULT CHARACTER SET = ascii COLLATE = ascii_bin;

INSERT INTO segments (app_tag, max_id, step) VALUES ('test_business', 0, 100000)
  ON DUPLICATE KEY UPDATE app_tag = app_tag;
