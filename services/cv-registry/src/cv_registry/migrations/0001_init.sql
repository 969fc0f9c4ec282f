-- A citizen as the intake last told it. state is what followers fetch; personal is the ready JSON of
-- PersonalData up to the value of ContactInformation, once with and once without the address (decision 19).
CREATE TABLE citizens (
    person_id          uuid PRIMARY KEY,
    person_number      text NOT NULL CONSTRAINT citizens_person_number UNIQUE,
    cv_id              uuid NOT NULL CONSTRAINT citizens_cv_id UNIQUE,
    cv_number          text CONSTRAINT citizens_cv_number UNIQUE,
    version            bigint NOT NULL,
    source_version     bigint NOT NULL,
    state              json NOT NULL,
    personal           bytea NOT NULL,
    personal_protected bytea,
    changed_at         timestamptz NOT NULL
) WITH (toast_tuple_target = 8160);

-- Numbers that were taken from a citizen: they are known (4103, not 4400) and never given again.
CREATE TABLE retired_cv_numbers (
    cv_number  text PRIMARY KEY,
    cv_id      uuid NOT NULL,
    retired_at timestamptz NOT NULL
);

-- One row per CV that exists or existed; version is that of the newest CVChanged, revision names its content.
CREATE TABLE cvs (
    cv_id      uuid PRIMARY KEY,
    version    bigint NOT NULL,
    state      text NOT NULL CHECK (state IN ('ACTIVE', 'ARCHIVED', 'DISABLED', 'LOCKED', 'DELETED')),
    revision   bigint NOT NULL,
    revised_at timestamptz NOT NULL
) WITH (fillfactor = 80);

-- Content of every revision, as the JSON members JobConditions, JobTargetCollection and CV of a CVProfile.
CREATE TABLE cv_revisions (
    cv_id      uuid NOT NULL,
    version    bigint NOT NULL,
    revised_at timestamptz NOT NULL,
    content    bytea NOT NULL,
    PRIMARY KEY (cv_id, version)
) WITH (toast_tuple_target = 8160);

-- Administrative moves in the life cycle: who and why.
CREATE TABLE cv_state_moves (
    cv_id    uuid NOT NULL,
    version  bigint NOT NULL,
    state    text NOT NULL,
    reason   text NOT NULL,
    moved_by text NOT NULL,
    moved_at timestamptz NOT NULL,
    PRIMARY KEY (cv_id, version)
);

-- Every setting of a citizen's asylum dates; the newest version counts.
CREATE TABLE asylum_transitions (
    person_id          uuid NOT NULL,
    version            bigint NOT NULL,
    transition_date    date NOT NULL,
    edit_end_date      date NOT NULL,
    correction_comment text,
    set_at             timestamptz NOT NULL,
    PRIMARY KEY (person_id, version)
);

-- Random ids that were erased, so that "erased" is told from "unknown"; the version is that of the erasure.
CREATE TABLE erasures (
    subject   uuid PRIMARY KEY,
    version   bigint NOT NULL,
    erased_at timestamptz NOT NULL
);

-- When the heartbeat was last made: the instance whose update hits makes it.
CREATE TABLE heartbeats (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    made_at  timestamptz NOT NULL
);
INSERT INTO heartbeats (made_at) VALUES ('-infinity');

-- How far the import of a file has come, by the file's fingerprint.
CREATE TABLE imports (
    fingerprint text PRIMARY KEY,
    lines       bigint NOT NULL,
    changed_at  timestamptz NOT NULL
);
