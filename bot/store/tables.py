"""The tables. Queries over them live beside this module; migrations must equal it (a test says so).

Three rules run through all of them: what comes from outside is unique by (source, external id); what
happened carries `occurred_at` and `recorded_at`; what was decided is never overwritten but superseded.
"""

from __future__ import annotations

import sqlalchemy as sa

from bot.decide.bandit import AllocationWay
from bot.decide.contact import Priority, Purpose
from bot.decide.emergence import PatternState
from bot.decide.lifecycle import SENDABLE, OutreachState
from bot.decide.playbook import Autonomy
from bot.store.columns import flag, instant, json, metadata, number, one_of, ref, table, text, whole
from bot.store.enums import (
    Author,
    AutonomyWay,
    ConversationState,
    DecisionKind,
    DeliveryState,
    Direction,
    EventState,
    ExampleSource,
    GapState,
    HandoffState,
    JourneyState,
    ModelStatus,
    PatternAnswer,
    PlanDecision,
    PredictionKind,
    PromotionWay,
    RunState,
)

__all__ = ["metadata"]

# --- The shop, as it told us -------------------------------------------------------------------------
# `recorded_at` of an entity is the instant from which its present content was known; what it replaced is
# kept in `revisions`, so that a snapshot of the past sees the past. `fingerprint` tells same from changed.

customers = table(
    "customers", text("source"), text("external_id"),
    text("email", null=True), text("name", null=True), text("locale", null=True), text("timezone", null=True),
    text("country", null=True), text("region", null=True), text("city", null=True),
    text("slack_team_id", null=True), text("slack_user_id", null=True),
    instant("created_at", null=True), json("attributes"), text("fingerprint"), instant("recorded_at"),
    sa.UniqueConstraint("source", "external_id"),
    sa.Index(None, "slack_user_id"), sa.Index(None, "email"),
)  # fmt: skip

products = table(
    "products", text("source"), text("external_id"),
    text("name", null=True), text("category", null=True), number("price"), number("weight_g"),
    json("attributes"), text("fingerprint"), instant("recorded_at"),
    sa.UniqueConstraint("source", "external_id"),
)  # fmt: skip

orders = table(
    "orders", text("source"), text("external_id"), ref("customer_id", "customers"),
    instant("placed_at"), text("currency", null=True), number("total"), instant("promised_at", null=True), text("status", null=True),
    json("attributes"), text("fingerprint"), instant("recorded_at"),
    sa.UniqueConstraint("source", "external_id"),
    sa.Index(None, "customer_id", "placed_at"), sa.Index(None, "placed_at"),
)  # fmt: skip

order_lines = table(
    "order_lines", ref("order_id", "orders"), whole("line_no"), ref("product_id", "products", null=True),
    text("seller_id", null=True), number("quantity"), number("unit_price"), number("shipping_price"),
    json("attributes"), text("fingerprint"), instant("recorded_at"),
    sa.UniqueConstraint("order_id", "line_no"),
)  # fmt: skip

touchpoints = table(
    "touchpoints", text("source"), text("external_id"), ref("customer_id", "customers"), ref("order_id", "orders", null=True),
    text("kind"), instant("occurred_at"), instant("recorded_at"), number("value"), text("text", null=True), text("channel", null=True),
    json("attributes"), text("fingerprint"),
    sa.UniqueConstraint("source", "external_id"),
    sa.Index(None, "customer_id", "recorded_at"), sa.Index(None, "order_id"), sa.Index(None, "kind", "recorded_at"),
)  # fmt: skip

revisions = table(
    "revisions", text("entity"), sa.Column("entity_id", sa.BigInteger, nullable=False),
    instant("recorded_at"), instant("superseded_at"), json("content", null=False),
    sa.Index(None, "entity", "entity_id", "superseded_at"),
)  # fmt: skip

# --- Predictions -------------------------------------------------------------------------------------

model_versions = table(
    "model_versions", text("name"), text("kind"), text("moment"), whole("horizon_days"), whole("version"),
    text("stage"), text("path"), text("sha256"), instant("trained_as_of"), instant("created_at"),
    json("metrics"), json("manifest"), text("status"),
    sa.UniqueConstraint("name"), sa.UniqueConstraint("kind", "moment", "horizon_days", "version"),
    one_of("kind", PredictionKind), one_of("status", ModelStatus),
    sa.Index(
        "uq_model_versions_champion", "kind", "moment", "horizon_days", unique=True,
        sqlite_where=sa.text("status = 'champion'"), postgresql_where=sa.text("status = 'champion'"),
    ),
)  # fmt: skip

# Who became champion, why, and on top of whom: a rollback goes to the promotion `below`. Nothing is ever changed here.
promotions = table(
    "promotions", text("kind"), text("moment"), whole("horizon_days"), whole("number"), ref("model_version_id", "model_versions"),
    whole("below", null=True), text("way"), text("actor"), text("reason"), instant("recorded_at"),
    # Of two that promote at the same time on top of the same champion, one fails here.
    sa.UniqueConstraint("kind", "moment", "horizon_days", "number"),
    one_of("way", PromotionWay), sa.Index(None, "model_version_id"),
)  # fmt: skip

predictions = table(
    "predictions", text("kind"), text("moment"), text("subject"), ref("customer_id", "customers"), ref("order_id", "orders", null=True),
    instant("as_of"), whole("horizon_days"), number("probability", null=False), text("band"), text("stage"),
    text("model"), ref("model_version_id", "model_versions", null=True), json("reasons"), json("fragility"), instant("recorded_at"),
    sa.UniqueConstraint("kind", "moment", "subject", "as_of", "model"),
    one_of("kind", PredictionKind), sa.Index(None, "order_id"), sa.Index(None, "customer_id"), sa.Index(None, "kind", "recorded_at"),
)  # fmt: skip

# Groups of orders with more trouble than expected: since when, and when it was last news. Names no customer and no order.
patterns = table(
    "patterns", text("cell"), text("kind"), text("state"), whole("window_days"), whole("troubled"), whole("exposed"),
    number("expected", null=False), number("p_value", null=False), instant("first_seen_at"), instant("last_seen_at"),
    instant("closed_at", null=True), instant("news_at"), whole("news_troubled"), instant("told_at", null=True),
    # What its card says, and what an agent said to it.
    text("sentence", null=True), whole("silent", null=True),
    text("answer", null=True), text("answered_by", null=True), instant("answered_at", null=True),
    one_of("state", PatternState), one_of("answer", PatternAnswer),
    sa.Index(
        "uq_patterns_open", "cell", "kind", unique=True,
        sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"),
    ),
)  # fmt: skip

# --- Planning and outreach ---------------------------------------------------------------------------

# The shares of a playbook's variants where they move with the outcomes, each with the instant from which it was in force.
allocations = table(
    "allocations", text("playbook"), text("experiment"), whole("number"), text("way"), json("shares", null=False),
    json("chances", null=False), json("stopped", null=False), text("reason"), instant("decided_at"),
    # Of two that decide at the same time, one fails here.
    sa.UniqueConstraint("experiment", "number"), one_of("way", AllocationWay),
)  # fmt: skip

assignments = table(
    "assignments", ref("customer_id", "customers"), text("playbook"), text("experiment"), text("arm"),
    number("propensity", null=False), text("salt"), instant("drawn_at"),
    # What was known of both arms alike when it was drawn, so that results can be read by it.
    text("band", null=True), text("channel", null=True), ref("allocation_id", "allocations", null=True),
    sa.UniqueConstraint("customer_id", "playbook", "experiment"),
)  # fmt: skip

outreaches = table(
    "outreaches", whole("version"), text("state"), text("dedupe_key"),
    ref("customer_id", "customers"), ref("order_id", "orders", null=True),
    text("playbook"), text("playbook_version"), text("step"), text("channel"), text("local_date"),
    ref("assignment_id", "assignments"), ref("prediction_id", "predictions", null=True),
    ref("article_version_id", "article_versions", null=True),
    text("template"), text("locale"), text("subject"), text("draft"), text("original_draft"), json("reasons"),
    number("probability"), text("band"), flag("urgent"),
    instant("created_at"), instant("updated_at"), instant("not_before"), instant("expires_at"),
    instant("decided_at", null=True), text("decided_by", null=True),
    text("claimed_by", null=True), instant("claimed_until", null=True), instant("snoozed_until", null=True),
    text("refusal", null=True), whole("attempts"), instant("next_attempt_at", null=True),
    instant("sending_since", null=True), text("sending_by", null=True), instant("sent_at", null=True), json("evidence"),
    # How far the bot may go by itself with this one, as its playbook said when it was proposed; never more.
    text("autonomy", server_default=Autonomy.APPROVE.value), ref("pattern_id", "patterns", null=True),
    # What it is for and how much it matters, as its playbook said then: the policy asks for both again when it leaves.
    text("purpose", server_default=Purpose.SERVICE.value), text("priority", server_default=Priority.NORMAL.value),
    sa.UniqueConstraint("dedupe_key"), one_of("purpose", Purpose), one_of("priority", Priority),
    one_of("state", OutreachState), one_of("autonomy", Autonomy),
    sa.CheckConstraint(
        f"autonomy <> '{Autonomy.DRAFT.value}' OR state NOT IN ({', '.join(repr(one.value) for one in sorted(SENDABLE))})",
        name="draft_is_never_sent",
    ),
    sa.Index(None, "state", "not_before"), sa.Index(None, "customer_id", "sent_at"), sa.Index(None, "playbook", "state"),
    sa.Index(None, "assignment_id"), sa.Index(None, "local_date"), sa.Index(None, "pattern_id"),
)  # fmt: skip

# One customer's way through a playbook from one trigger instant on. It keeps to the version with which it began, whose text
# is kept for that; of somebody held out it is only observed.
journeys = table(
    "journeys", ref("customer_id", "customers"), ref("order_id", "orders", null=True),
    text("playbook"), text("playbook_version"), ref("assignment_id", "assignments"), text("arm"),
    instant("trigger_at"), instant("started_at"), text("step"), ref("outreach_id", "outreaches", null=True), text("state"),
    instant("due_at", null=True), text("exit_reason", null=True), instant("ended_at", null=True),
    sa.UniqueConstraint("customer_id", "playbook", "trigger_at"), one_of("state", JourneyState),
    sa.Index(None, "state", "customer_id"), sa.Index(None, "order_id"), sa.Index(None, "outreach_id"),
)  # fmt: skip

playbook_versions = table(
    "playbook_versions", text("playbook"), text("version"), text("content"), instant("recorded_at"),
    sa.UniqueConstraint("playbook", "version"),
)  # fmt: skip

# How far playbooks may go by themselves, beside what their files say: offered, granted, taken back; nothing is ever changed.
autonomy_steps = table(
    "autonomy_steps", text("playbook"), whole("number"), text("playbook_version"), text("way"), text("level"), text("actor"),
    json("numbers", null=False), instant("recorded_at"),
    # Of two who decide at the same time, one fails here.
    sa.UniqueConstraint("playbook", "number"), one_of("way", AutonomyWay), one_of("level", Autonomy),
)  # fmt: skip

refusals = table(
    "refusals", ref("customer_id", "customers"), ref("order_id", "orders", null=True), text("playbook"), text("step"),
    ref("assignment_id", "assignments", null=True), text("decision"), text("reason"), instant("until", null=True),
    text("local_date"), text("dedupe_key"), instant("recorded_at"),
    sa.UniqueConstraint("dedupe_key"), one_of("decision", PlanDecision), sa.Index(None, "customer_id"), sa.Index(None, "assignment_id"),
)  # fmt: skip

decisions = table(
    "decisions", ref("outreach_id", "outreaches"), whole("outreach_version"), text("kind"), text("actor"),
    text("reason", null=True), text("draft_before", null=True), text("draft_after", null=True), instant("until", null=True),
    text("event_key", null=True), instant("recorded_at"),
    sa.UniqueConstraint("outreach_id", "outreach_version"), one_of("kind", DecisionKind),
)  # fmt: skip

deliveries = table(
    "deliveries", ref("outreach_id", "outreaches", null=True), ref("utterance_id", "utterances", null=True),
    whole("attempt"), text("key"), text("channel"), text("state"), instant("started_at"), instant("finished_at", null=True),
    json("evidence"), text("error", null=True), text("owner", null=True), instant("next_attempt_at", null=True),
    sa.UniqueConstraint("key"), sa.UniqueConstraint("outreach_id", "attempt"), sa.UniqueConstraint("utterance_id", "attempt"),
    sa.CheckConstraint("(outreach_id IS NULL) <> (utterance_id IS NULL)", name="one_subject"),
    one_of("state", DeliveryState), sa.Index(None, "state"),
)  # fmt: skip

# How fast each channel may be used, over all workers: a token bucket a channel.
buckets = table(
    "buckets", text("channel"), number("tokens", null=False), instant("filled_at"), instant("paused_until", null=True),
    sa.UniqueConstraint("channel"),
)  # fmt: skip

# How many check-ins were handed to each channel on a local date, where the shop sets a budget.
budgets = table(
    "budgets", text("channel"), text("local_date"), whole("spent"), sa.UniqueConstraint("channel", "local_date")
)

slack_posts = table(
    "slack_posts", text("purpose"), text("subject"), text("channel"), text("ts"), text("shown"), instant("posted_at"), instant("updated_at"),
    sa.UniqueConstraint("purpose", "subject"), sa.Index(None, "channel", "ts"),
)  # fmt: skip

# --- Conversations and knowledge ---------------------------------------------------------------------

conversations = table(
    "conversations", text("channel"), text("thread"), ref("customer_id", "customers", null=True),
    ref("outreach_id", "outreaches", null=True), text("state"), whole("clarifications"), instant("created_at"), instant("updated_at"),
    sa.UniqueConstraint("channel", "thread"), one_of("state", ConversationState), sa.Index(None, "customer_id"),
)  # fmt: skip

utterances = table(
    "utterances", ref("conversation_id", "conversations"), text("source"), text("external_id"), text("direction"), text("author"),
    text("author_id", null=True), text("text"), instant("occurred_at"), instant("recorded_at"),
    text("intent", null=True), text("decision", null=True), number("confidence"),
    ref("article_version_id", "article_versions", null=True), json("evidence"),
    # How a customer's message sounds, for their journey.
    number("sentiment"), number("urgency"),
    sa.UniqueConstraint("source", "external_id"), one_of("direction", Direction), one_of("author", Author),
    sa.Index(None, "conversation_id"),
)  # fmt: skip

# Which article answers a question, or does not, and who said so.
examples = table(
    "examples", ref("utterance_id", "utterances"), ref("article_id", "articles", null=True), flag("right"), text("source"),
    text("actor", null=True), instant("recorded_at"),
    sa.UniqueConstraint("utterance_id", "source"), one_of("source", ExampleSource),
)  # fmt: skip

# What readers said of the bot's answers.
ratings = table(
    "ratings", ref("utterance_id", "utterances"), flag("helped"), instant("rated_at"), sa.UniqueConstraint("utterance_id"),
)  # fmt: skip

# Every mail that came in, as it came: recorded first, then worked on. `raw` goes when `email.keep_raw_days` are over.
mails = table(
    "mails", text("source"), text("key"), instant("received_at"), sa.Column("raw", sa.LargeBinary, nullable=True), whole("octets"),
    text("state"), whole("attempts"), instant("next_attempt_at", null=True), instant("handled_at", null=True),
    text("error", null=True), text("kind", null=True), text("effect", null=True), text("about", null=True),
    text("address_hash", null=True), ref("customer_id", "customers", null=True), ref("outreach_id", "outreaches", null=True),
    sa.UniqueConstraint("key"), one_of("state", EventState),
    sa.Index(None, "state"), sa.Index(None, "received_at"), sa.Index(None, "customer_id"), sa.Index(None, "address_hash"),
)  # fmt: skip

# How far a mailbox was read (RFC 3501 section 2.3.1.1: UIDs mean something only under their UIDVALIDITY).
mailboxes = table(
    "mailboxes", text("name"), sa.Column("uid_validity", sa.BigInteger, nullable=False),
    sa.Column("last_uid", sa.BigInteger, nullable=False), instant("updated_at"), sa.UniqueConstraint("name"),
)  # fmt: skip

handoffs = table(
    "handoffs", ref("conversation_id", "conversations"), text("reason"), text("state"), flag("urgent"), text("owner", null=True),
    instant("opened_at"), instant("due_at", null=True), instant("closed_at", null=True),
    # When the owner was reminded of this due time, and how often anybody was reminded or asked anew.
    instant("reminded_at", null=True), whole("reminders", server_default="0"),
    one_of("state", HandoffState), sa.Index(None, "conversation_id"), sa.Index(None, "state"),
)  # fmt: skip

articles = table("articles", text("external_id"), flag("active"), sa.UniqueConstraint("external_id"))

article_versions = table(
    "article_versions", ref("article_id", "articles"), whole("version"), text("title"), text("body"), json("questions"), json("tags"),
    text("locale"), json("products"), instant("valid_from", null=True), instant("valid_until", null=True),
    text("owner", null=True), text("review_by", null=True), text("sha256"), instant("recorded_at"),
    text("origin", server_default="files"),
    sa.UniqueConstraint("article_id", "version"),
)  # fmt: skip

# Drafts of articles about what no article answers, and the questions that each is to answer, with what became of telling.
gap_drafts = table(
    "gap_drafts", text("state"), whole("version"), text("name"), text("title"), text("body"), json("questions"), text("locale"),
    whole("times"), whole("customers"), number("affected", null=False), instant("proposed_at"),
    instant("decided_at", null=True), text("decided_by", null=True), ref("article_version_id", "article_versions", null=True),
    one_of("state", GapState), sa.Index(None, "state"),
)  # fmt: skip

gap_questions = table(
    "gap_questions", ref("gap_draft_id", "gap_drafts"), ref("utterance_id", "utterances"),
    text("told", null=True), instant("told_at", null=True), ref("outreach_id", "outreaches", null=True),
    sa.UniqueConstraint("gap_draft_id", "utterance_id"), sa.Index(None, "utterance_id"),
)  # fmt: skip

# --- Labels, consent, and the machine's own memory -----------------------------------------------------

outcomes = table(
    "outcomes", text("kind"), text("subject"), ref("customer_id", "customers"), ref("order_id", "orders", null=True),
    ref("outreach_id", "outreaches", null=True), ref("assignment_id", "assignments", null=True),
    ref("prediction_id", "predictions", null=True), text("playbook", null=True), text("arm", null=True), number("propensity"), flag("treated"),
    instant("anchor_at"), whole("horizon_days"), number("value", null=False), instant("observed_at"), instant("recorded_at"),
    sa.UniqueConstraint("kind", "subject", "anchor_at", "horizon_days"), sa.Index(None, "playbook", "arm"),
    sa.Index(None, "assignment_id", "kind"), sa.Index(None, "outreach_id", "kind"),
)  # fmt: skip

consents = table(
    "consents", ref("customer_id", "customers"), text("channel"), text("purpose"), flag("granted"), text("origin"),
    text("evidence", null=True), instant("occurred_at"), instant("recorded_at"), sa.Index(None, "customer_id", "channel"),
)  # fmt: skip

suppressions = table(
    "suppressions", text("channel"), text("address_hash"), text("reason"), instant("recorded_at"),
    sa.UniqueConstraint("channel", "address_hash"),
)  # fmt: skip

events = table(
    "events", text("source"), text("key"), text("kind"), json("payload"), text("state"), instant("received_at"),
    instant("handled_at", null=True), text("error", null=True), sa.UniqueConstraint("source", "key"), one_of("state", EventState),
    sa.Index(None, "state"),
)  # fmt: skip

runs = table(
    "runs", text("job"), text("key"), text("state"), instant("started_at"), instant("finished_at", null=True), json("detail"),
    sa.UniqueConstraint("job", "key"), one_of("state", RunState),
)  # fmt: skip

# What the bot has to tell its people by itself, each thing once.
notices = table(
    "notices", text("kind"), text("key"), text("text"), instant("recorded_at"), sa.UniqueConstraint("key"),
    sa.Index(None, "recorded_at"),
)  # fmt: skip

controls = table(
    "controls", text("name"), json("value"), text("actor"), instant("updated_at"), sa.UniqueConstraint("name"),
)  # fmt: skip

audit = table(
    "audit", instant("recorded_at"), text("actor"), text("action"), text("entity"), text("entity_id"), json("detail"),
    text("previous_hash"), text("hash"), sa.UniqueConstraint("hash"), sa.Index(None, "entity", "entity_id"),
)  # fmt: skip
