"""The rival with a queue: Celery on RabbitMQ, one task a mail, acknowledged late, in an environment of its own."""
