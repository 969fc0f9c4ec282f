-- Letters with a new Jobnet login. A login is valid once the print service took its letter, and replaces the one before.
-- sending: whether the print service has it is not known yet. The password itself is nowhere; its hash leaves with the login.
-- request and body_hash: the request log's name of the call, so that whoever settles the letter can answer a repeated one.
CREATE TABLE account_letters (
    letter_id     uuid PRIMARY KEY,
    person_id     uuid NOT NULL,
    cv_id         uuid NOT NULL,
    user_name     text NOT NULL,
    password_hash text,
    state         text NOT NULL CHECK (state IN ('sending', 'valid', 'replaced', 'failed')),
    version       bigint,
    request       bytea,
    body_hash     bytea,
    ordered_at    timestamptz NOT NULL,
    settled_at    timestamptz,
    CHECK ((state IN ('sending', 'valid')) = (password_hash IS NOT NULL)),
    CHECK ((request IS NULL) = (body_hash IS NULL))
);
CREATE UNIQUE INDEX account_letters_valid ON account_letters (cv_id) WHERE state = 'valid';
CREATE UNIQUE INDEX account_letters_sending ON account_letters (cv_id) WHERE state = 'sending';
CREATE INDEX account_letters_cv ON account_letters (cv_id);
CREATE INDEX account_letters_login ON account_letters (user_name) WHERE state = 'valid';
