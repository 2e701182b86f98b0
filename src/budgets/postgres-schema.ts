/**
 * The PostgreSQL budget's tables and functions. No deadlock can arise, because everybody locks in one order: the hold,
 * then its buckets by key; tidying comes last and skips what is locked. A hold that is `pending` past its lease counts
 * as lapsed wherever one looks; moving its amounts from held to spent is tidying. Holds name their buckets by number,
 * so that one made anew after it was purged is left alone. Functions carry a version, so that servers of two versions
 * of this package can share the tables during an upgrade.
 */

const TABLES = `
SELECT pg_advisory_xact_lock(hashtext('images_router'));
CREATE SCHEMA IF NOT EXISTS images_router;

CREATE TABLE IF NOT EXISTS images_router.budget_buckets (
  key text COLLATE "C" PRIMARY KEY,
  number bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
  spent bigint NOT NULL CHECK (spent >= 0),
  held bigint NOT NULL CHECK (held >= 0),
  expires_at bigint
) WITH (fillfactor = 50);
CREATE INDEX IF NOT EXISTS budget_buckets_expiring ON images_router.budget_buckets (expires_at)
  WHERE expires_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS images_router.budget_holds (
  id text COLLATE "C" PRIMARY KEY,
  state text NOT NULL CHECK (state IN ('pending', 'lapsed', 'settled', 'released')),
  once_key text COLLATE "C" UNIQUE,
  fingerprint text,
  outcome text,
  lines jsonb NOT NULL DEFAULT '[]',
  due_at bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS budget_holds_pending ON images_router.budget_holds (due_at) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS budget_holds_closed ON images_router.budget_holds (due_at) WHERE state <> 'pending';
`;

const READING = `
CREATE OR REPLACE FUNCTION images_router.budget_now_v1() RETURNS bigint LANGUAGE sql VOLATILE AS $$
  SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

CREATE OR REPLACE FUNCTION images_router.budget_balances_v1(keys jsonb, now bigint) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT coalesce(jsonb_agg(jsonb_build_object(
    'key', asked.key,
    'spent', least(coalesce(bucket.spent, 0) + coalesce(lapsed.amount, 0), ${Number.MAX_SAFE_INTEGER}),
    'held', coalesce(bucket.held, 0) - coalesce(lapsed.amount, 0)
  ) ORDER BY asked.place), '[]')
  FROM jsonb_array_elements_text(keys) WITH ORDINALITY AS asked (key, place)
  LEFT JOIN images_router.budget_buckets AS bucket ON bucket.key = asked.key
  LEFT JOIN LATERAL (
    SELECT sum(line.amount) AS amount
    FROM images_router.budget_holds AS hold, jsonb_to_recordset(hold.lines) AS line (bucket bigint, amount bigint)
    WHERE hold.state = 'pending' AND hold.due_at <= now AND line.bucket = bucket.number
  ) AS lapsed ON true
$$;

CREATE OR REPLACE FUNCTION images_router.budget_granted_v1(hold images_router.budget_holds, now bigint)
RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('ok', true, 'lines', hold.lines,
    'balances', images_router.budget_balances_v1(jsonb_path_query_array(hold.lines, '$[*].key'), now))
$$;

CREATE OR REPLACE FUNCTION images_router.budget_seen_v1(
  hold images_router.budget_holds, fingerprint text, now bigint
) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN hold.fingerprint <> fingerprint THEN jsonb_build_object('state', 'conflict')
    WHEN hold.state = 'settled' THEN jsonb_build_object('state', 'settled', 'outcome', hold.outcome)
    WHEN hold.state = 'pending' AND hold.due_at > now THEN jsonb_build_object('state', 'pending')
    ELSE jsonb_build_object('state', 'lapsed')
  END
$$;

CREATE OR REPLACE FUNCTION images_router.budget_read_v1(request text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT images_router.budget_balances_v1(request::jsonb, images_router.budget_now_v1())::text
$$;

CREATE OR REPLACE FUNCTION images_router.budget_recall_v1(request text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT coalesce((
    SELECT images_router.budget_seen_v1(hold, request::jsonb->>'fingerprint', images_router.budget_now_v1())::text
    FROM images_router.budget_holds AS hold WHERE hold.once_key = request::jsonb->>'onceKey'
  ), 'null')
$$;
`;

const BOOKING = `
CREATE OR REPLACE FUNCTION images_router.budget_guard_v1() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'budget operations need READ COMMITTED, each as a statement of its own';
  END IF;
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'local', true);
  END IF;
END
$$;

-- Books lines in place of what a pending hold holds, or a lapsed one has spent. The hold is locked.
CREATE OR REPLACE FUNCTION images_router.budget_book_v1(hold images_router.budget_holds, booked jsonb)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM images_router.budget_buckets AS bucket
    WHERE bucket.number IN (
      SELECT line.bucket FROM jsonb_to_recordset(hold.lines) AS line (bucket bigint))
    ORDER BY bucket.key FOR UPDATE;
  UPDATE images_router.budget_buckets AS bucket SET
    held = bucket.held - CASE hold.state WHEN 'pending' THEN line.amount ELSE 0 END,
    spent = least(coalesce(booking.amount, 0)
      + greatest(bucket.spent - CASE hold.state WHEN 'pending' THEN 0 ELSE line.amount END, 0),
      ${Number.MAX_SAFE_INTEGER})
    FROM jsonb_to_recordset(hold.lines) AS line (bucket bigint, key text, amount bigint)
    LEFT JOIN jsonb_to_recordset(booked) AS booking (key text, amount bigint) ON booking.key = line.key
    WHERE bucket.number = line.bucket;
END
$$;

-- Lapses and forgets a little: more than a reserve can add, and little enough that none pays for a long idle time.
CREATE OR REPLACE FUNCTION images_router.budget_tidy_v1() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  now CONSTANT bigint := images_router.budget_now_v1();
  hold images_router.budget_holds;
  locked bigint[];
BEGIN
  FOR hold IN
    SELECT * FROM images_router.budget_holds WHERE state = 'pending' AND due_at <= now
    ORDER BY due_at LIMIT 16 FOR UPDATE SKIP LOCKED
  LOOP
    locked := ARRAY(
      SELECT bucket.number FROM images_router.budget_buckets AS bucket
      WHERE bucket.number IN (SELECT line.bucket FROM jsonb_to_recordset(hold.lines) AS line (bucket bigint))
      FOR UPDATE SKIP LOCKED);
    CONTINUE WHEN EXISTS (
      SELECT FROM images_router.budget_buckets AS bucket, jsonb_to_recordset(hold.lines) AS line (bucket bigint)
      WHERE bucket.number = line.bucket AND bucket.number <> ALL (locked));
    PERFORM images_router.budget_book_v1(hold, hold.lines);
    UPDATE images_router.budget_holds SET state = 'lapsed', due_at = now + 86400000 WHERE id = hold.id;
  END LOOP;
  DELETE FROM images_router.budget_holds WHERE id = ANY (ARRAY(
    SELECT id FROM images_router.budget_holds WHERE state <> 'pending' AND due_at <= now
    ORDER BY due_at LIMIT 16 FOR UPDATE SKIP LOCKED));
  DELETE FROM images_router.budget_buckets WHERE number = ANY (ARRAY(
    SELECT number FROM images_router.budget_buckets WHERE expires_at <= now
    ORDER BY expires_at LIMIT 16 FOR UPDATE SKIP LOCKED));
END
$$;
`;

const RESERVING = `
-- What one look without a lock decides, in one snapshot; null when the lines fit.
CREATE OR REPLACE FUNCTION images_router.budget_look_v1(request jsonb, now bigint) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN own.state = 'pending' AND own.due_at > now THEN images_router.budget_granted_v1(own, now)
    WHEN own.id IS NOT NULL THEN jsonb_build_object('ok', false, 'closed', true)
    WHEN other.id IS NOT NULL THEN jsonb_build_object('ok', false,
      'seen', images_router.budget_seen_v1(other, request->>'fingerprint', now))
    WHEN short.refused IS NOT NULL THEN jsonb_build_object('ok', false, 'refused', short.refused)
  END
  FROM (
    SELECT jsonb_agg(jsonb_build_object('key', line.key, 'left', greatest(line.left, 0))) AS refused
    FROM (
      SELECT asked.key, asked.amount,
        asked."limit" - coalesce(bucket.spent, 0) - coalesce(bucket.held, 0) AS "left"
      FROM jsonb_to_recordset(request->'lines') AS asked (key text, "limit" bigint, amount bigint)
      LEFT JOIN images_router.budget_buckets AS bucket ON bucket.key = asked.key
    ) AS line
    WHERE line.amount > line.left
  ) AS short
  LEFT JOIN images_router.budget_holds AS own ON own.id = request->>'id'
  LEFT JOIN images_router.budget_holds AS other ON other.once_key = request->>'onceKey'
$$;

-- Takes the id, the once key and every amount; null, with nothing taken, when somebody else was faster.
CREATE OR REPLACE FUNCTION images_router.budget_take_v1(request jsonb, now bigint) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
  hold images_router.budget_holds;
  held jsonb;
  over boolean;
BEGIN
  INSERT INTO images_router.budget_holds (id, state, once_key, fingerprint, due_at)
    VALUES (request->>'id', 'pending', request->>'onceKey', request->>'fingerprint',
      now + (request->>'leaseMs')::bigint)
    ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  WITH asked AS (
    SELECT line.*, (line.value->>'limit')::bigint AS "limit", (line.value->>'amount')::bigint AS amount,
      line.value->>'key' AS key, (line.value->>'expiresAt')::bigint AS expires_at
    FROM jsonb_array_elements(request->'lines') WITH ORDINALITY AS line (value, place)
  ), taken AS (
    INSERT INTO images_router.budget_buckets AS bucket (key, spent, held, expires_at)
    SELECT asked.key, 0, asked.amount, asked.expires_at FROM asked ORDER BY asked.key COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET held = bucket.held + excluded.held, expires_at =
      CASE WHEN bucket.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL
      ELSE greatest(bucket.expires_at, excluded.expires_at) END
    RETURNING bucket.key, bucket.number, bucket.spent + bucket.held AS total
  )
  SELECT bool_or(taken.total > asked."limit"), coalesce(jsonb_agg(jsonb_build_object(
      'bucket', taken.number, 'key', asked.key, 'amount', asked.amount) ORDER BY asked.place), '[]')
    INTO over, held FROM asked JOIN taken ON taken.key = asked.key;
  IF over THEN
    RAISE EXCEPTION 'over the limit' USING ERRCODE = 'IMGOV';
  END IF;
  UPDATE images_router.budget_holds SET lines = held WHERE id = request->>'id' RETURNING * INTO hold;
  RETURN images_router.budget_granted_v1(hold, now);
EXCEPTION WHEN SQLSTATE 'IMGOV' THEN
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION images_router.budget_reserve_v1(request text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer jsonb;
  now bigint;
BEGIN
  PERFORM images_router.budget_guard_v1();
  LOOP
    now := images_router.budget_now_v1();
    answer := images_router.budget_look_v1(request::jsonb, now);
    EXIT WHEN answer IS NOT NULL;
    answer := images_router.budget_take_v1(request::jsonb, now);
    EXIT WHEN answer IS NOT NULL;
  END LOOP;
  PERFORM images_router.budget_tidy_v1();
  RETURN answer::text;
END
$$;
`;

const SETTLING = `
-- Answers what became of it, or the lines held when one to be booked is not among them.
CREATE OR REPLACE FUNCTION images_router.budget_commit_v1(request text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  asked CONSTANT jsonb := request::jsonb;
  hold images_router.budget_holds;
BEGIN
  PERFORM images_router.budget_guard_v1();
  SELECT * INTO hold FROM images_router.budget_holds WHERE id = asked->>'id' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN '"unknown"';
  END IF;
  IF hold.state IN ('settled', 'released') THEN
    RETURN '"already"';
  END IF;
  IF EXISTS (
    SELECT line.key FROM jsonb_to_recordset(asked->'lines') AS line (key text)
    EXCEPT SELECT line.key FROM jsonb_to_recordset(hold.lines) AS line (key text)
  ) THEN
    RETURN jsonb_build_object('held', hold.lines)::text;
  END IF;
  PERFORM images_router.budget_book_v1(hold, asked->'lines');
  UPDATE images_router.budget_holds SET state = 'settled', lines = '[]', outcome = asked->>'outcome',
    due_at = images_router.budget_now_v1() + 86400000 WHERE id = hold.id;
  RETURN '"settled"';
END
$$;

CREATE OR REPLACE FUNCTION images_router.budget_release_v1(request text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  asked CONSTANT jsonb := request::jsonb;
  hold images_router.budget_holds;
BEGIN
  PERFORM images_router.budget_guard_v1();
  INSERT INTO images_router.budget_holds (id, state, due_at)
    VALUES (asked->>'id', 'released', images_router.budget_now_v1() + 86400000) ON CONFLICT DO NOTHING;
  IF FOUND THEN
    RETURN '"unknown"';
  END IF;
  SELECT * INTO STRICT hold FROM images_router.budget_holds WHERE id = asked->>'id' FOR UPDATE;
  IF hold.state IN ('settled', 'released') THEN
    RETURN '"already"';
  END IF;
  PERFORM images_router.budget_book_v1(hold, '[]');
  UPDATE images_router.budget_holds SET state = 'released', lines = '[]', once_key = NULL, fingerprint = NULL,
    due_at = images_router.budget_now_v1() + 86400000 WHERE id = hold.id;
  RETURN '"released"';
END
$$;
`;

/** What {@link postgresBudget} needs in the database; see there. */
export const postgresBudgetSchema: string = [TABLES, READING, BOOKING, RESERVING, SETTLING].join('');
