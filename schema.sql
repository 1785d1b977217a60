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
-- step: how many ids a worker reserves at a time. A change takes effect at the next reservation.
CREATE TABLE IF NOT EXISTS segments (
  app_tag VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  max_id BIGINT NOT NULL DEFAULT 0,
  step BIGINT NOT NULL,
  update_time DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (app_tag),
  CHECK (step >= 1)
) ENGINE = InnoDB DEFAULT CHARACTER SET = ascii COLLATE = ascii_bin;

INSERT INTO segments (app_tag, max_id, step) VALUES ('test_business', 0, 100000)
  ON DUPLICATE KEY UPDATE app_tag = app_tag;
