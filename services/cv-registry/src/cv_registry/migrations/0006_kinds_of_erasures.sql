-- Whether an erased id was a person's or a CV's; null where that is not known any more, as after a restore from the ledger.
alter table erasures add column kind text check (kind in ('person', 'cv'));
