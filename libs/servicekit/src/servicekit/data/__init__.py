"""The service's own database: write transactions, migrations, repeated requests, consistency tokens, the access log."""
