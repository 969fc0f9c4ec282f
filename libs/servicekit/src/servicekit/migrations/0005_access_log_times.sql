-- Finds the rows of some days. Months to come have it; those that are there get it by hand, while the service runs: making it here would keep
-- waiting whoever is to be logged.
create index access_log_at on only access_log using brin (at);
