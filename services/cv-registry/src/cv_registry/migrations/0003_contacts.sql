-- Contact data as contact-verification owns them, by generation: ready for GetCV, by type for what a CV still under way sets.
-- replaced: the highest version of a ReplaceCV whose contact data are in here, or were overtaken.
CREATE TABLE contacts (
    generation int NOT NULL,
    person_id  uuid NOT NULL,
    version    bigint NOT NULL,
    replaced   bigint NOT NULL,
    ready      bytea NOT NULL,
    types      bytea NOT NULL,
    PRIMARY KEY (generation, person_id)
) WITH (fillfactor = 80);

-- The contact part of the newest ReplaceCV: which prepared change, its version, and the values by type, shown until they are
-- in contacts.
ALTER TABLE cvs ADD COLUMN prepare_id uuid, ADD COLUMN contact_version bigint, ADD COLUMN contact_values bytea;

-- What became of each prepared change: committed with its CV, or called abandoned before that. Whoever is first decides; rows
-- stay, for contact-verification may ask after any outage.
CREATE TABLE contact_decisions (
    prepare_id uuid CONSTRAINT contact_decisions_once PRIMARY KEY,
    committed  boolean NOT NULL,
    decided_at timestamptz NOT NULL
);
