-- How often a message was put off for its recipient's sake: only that wears out a reminder, not a provider or a key that is away.
alter table messages add column held integer not null default 0;
