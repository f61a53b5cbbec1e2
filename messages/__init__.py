"""The words: templates, tone, knowledge, intents, answers. Knows nothing of tables."""
