"""What is remembered: tables, typed records and named queries. SQLAlchemy lives here and nowhere else."""
