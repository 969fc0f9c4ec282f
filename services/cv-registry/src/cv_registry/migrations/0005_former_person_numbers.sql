-- Person numbers that were replaced by another one: a late delivery under one of them registers nobody.
create table former_person_numbers (
    person_number text primary key,
    person_id     uuid not null,
    changed_at    timestamptz not null
);
create index former_person_numbers_person on former_person_numbers (person_id);
