-- The log of `rrarank.serve --log DIR` as two tables of PostgreSQL (12 or later). Lines that are there already, and torn
-- ones, are left out, so the same files may be loaded again:
--   awk 1 DIR/ubi_*.jsonl | psql -q -v ON_ERROR_STOP=1 -f deploy/ubi.sql
-- Back to a log that `rrarank.online` reads:
--   psql -Atc "select row_to_json(q) from ubi_queries q" > ubi_queries.jsonl
--   psql -Atc "select to_jsonb(e) - 'line_md5' from ubi_events e" > ubi_events.jsonl

set client_min_messages = warning;
begin;
create table if not exists ubi_queries (
    query_id text primary key,
    client_id text,
    session_id text,
    application text,
    "timestamp" timestamptz not null,
    user_query text,
    query_response_id text,
    query_response_hit_ids text[],
    object_id_field text,
    query_attributes jsonb
);
create table if not exists ubi_events (
    line_md5 text primary key, -- of the line: an event has no id of its own
    action_name text not null,
    query_id text,
    client_id text,
    session_id text,
    application text,
    "timestamp" timestamptz not null,
    message_type text,
    message text,
    event_attributes jsonb
);
create index if not exists ubi_events_query on ubi_events (query_id);

create temporary table lines (line text) on commit drop;
\copy lines from pstdin with (format csv, quote e'\x01', delimiter e'\x02')

create function pg_temp.as_json(line text) returns jsonb language plpgsql as $$
begin
    return line::jsonb;
exception when others then
    begin
        return replace(line, '\u0000', '\ufffd')::jsonb; -- PostgreSQL's texts have no NUL
    exception when others then
        return null;
    end;
end $$;
create temporary table rows on commit drop as
    select md5(line) as line_md5, pg_temp.as_json(line) as content from lines;

insert into ubi_queries
    select (jsonb_populate_record(null::ubi_queries, content)).* from rows
    where content ? 'query_response_hit_ids' on conflict do nothing;
insert into ubi_events
    select (jsonb_populate_record(null::ubi_events, content || jsonb_build_object('line_md5', line_md5))).* from rows
    where content ? 'action_name' on conflict do nothing;
commit;
