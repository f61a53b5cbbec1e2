"""How a message leaves and how a reply comes in: one folder a channel, one contract for all."""
