/**
 * The PostgreSQL usage's tables. Rows are found by their tenant and time, or by user, model or backend in the same
 * order. The sums of each day and month are kept up to date by the statement that keeps rows.
 */

/**
 * Makes the tables of {@link postgresUsage}: to be run in a migration, and again with every new version of this
 * package; what is there stays.
 */
export const postgresUsageSchema: string = `
SELECT pg_advisory_xact_lock(hashtext('images_router'));
CREATE SCHEMA IF NOT EXISTS images_router;

CREATE TABLE IF NOT EXISTS images_router.usage_rows (
  tenant text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  id text COLLATE "C" NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  model text COLLATE "C" NOT NULL,
  backend text COLLATE "C" NOT NULL,
  images bigint NOT NULL,
  tokens_in bigint NOT NULL,
  tokens_out bigint NOT NULL,
  cost bigint NOT NULL,
  backend_cost bigint NOT NULL,
  rest text NOT NULL,
  PRIMARY KEY (tenant, at, id)
);
CREATE INDEX IF NOT EXISTS usage_rows_user ON images_router.usage_rows (tenant, user_id, at, id);
CREATE INDEX IF NOT EXISTS usage_rows_model ON images_router.usage_rows (tenant, model, at, id);
CREATE INDEX IF NOT EXISTS usage_rows_backend ON images_router.usage_rows (tenant, backend, at, id);

CREATE TABLE IF NOT EXISTS images_router.usage_sums (
  tenant text COLLATE "C" NOT NULL,
  grain text NOT NULL CHECK (grain IN ('day', 'month')),
  since bigint NOT NULL,
  user_id text COLLATE "C" NOT NULL,
  model text COLLATE "C" NOT NULL,
  backend text COLLATE "C" NOT NULL,
  requests bigint NOT NULL,
  images bigint NOT NULL,
  tokens_in bigint NOT NULL,
  tokens_out bigint NOT NULL,
  cost bigint NOT NULL,
  backend_cost bigint NOT NULL,
  PRIMARY KEY (tenant, grain, since, user_id, model, backend)
) WITH (fillfactor = 70);
`;
