-- The least rights that idalloc needs, for two users that are there already.

-- Workers. They reserve, raise and give back with UPDATE, and neither add rows nor remove any;
-- INSERT as well if they are to make tags at their first use (docs/tags.md) or for new periods
-- (docs/periods.md), and DELETE if they are to remove the rows of old periods.
GRANT SELECT, UPDATE ON id_alloc_db.segments TO 'idalloc'@'%';

-- Operators: `idalloc tags` needs the first four. `idalloc migrate` needs the last two as well; if the
-- table is to be created by `idalloc init`, grant CREATE on the database.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON id_alloc_db.segments
  TO 'idalloc-operator'@'%';
