-- Citizens as far as access needs to know them; state holds no names, birth date or address.
-- Numbers are not unique here: two citizens may swap one, and their changes come in any order. The newest version counts.
create table citizens (
    generation    integer not null,
    person_id     uuid not null,
    cv_id         uuid not null,
    person_number text not null,
    cv_number     text,
    version       bigint not null,
    partition     integer not null,
    state         jsonb not null,
    primary key (generation, person_id)
) with (fillfactor = 80);
create index citizens_person_number on citizens (person_number);
create index citizens_cv_number on citizens (cv_number);
create index citizens_cv_id on citizens (cv_id);
