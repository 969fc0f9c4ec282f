-- Lists of long periods are counted by the newest change of each member, without those who were erased.
create index cvs_erased on cvs (cv_id) where erased;
