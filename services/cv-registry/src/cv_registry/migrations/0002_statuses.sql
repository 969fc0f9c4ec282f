-- The status that each CV has now, followed from cv-status by generation; a CV without a row was never given one.
CREATE TABLE statuses (
    generation int NOT NULL,
    cv_id      uuid NOT NULL,
    version    bigint NOT NULL,
    status     smallint NOT NULL,
    comment    text,
    set_at     timestamptz NOT NULL,
    PRIMARY KEY (generation, cv_id)
) WITH (fillfactor = 80);
