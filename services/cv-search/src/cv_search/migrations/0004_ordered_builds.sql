-- The change that stood for an operator's order to build the index anew: every index begun before it is to be replaced.
alter table search_state add column ordered bigint not null default 0;
