-- held: the build is whole and the owner knew far fewer subjects than the live one, so an operator must accept that.
alter table projection_generations
    add column held boolean not null default false,
    add column accept_fewer boolean not null default false;
