CREATE TABLE store_schema (
    version INTEGER NOT NULL,
    PRIMARY KEY (version)
);

CREATE TABLE tenants (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    token VARCHAR NOT NULL,
    read_only_token VARCHAR NOT NULL,
    current_key VARCHAR NOT NULL,
    next_key VARCHAR NOT NULL,
    clock_at BIGINT,
    PRIMARY KEY (id),
    UNIQUE (name),
    UNIQUE (token),
    UNIQUE (read_only_token)
);

CREATE TABLE messages (
    seq INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    id VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    due_at BIGINT,
    retried INTEGER NOT NULL,
    is_cancel_requested BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    not_before_at BIGINT NOT NULL,
    url VARCHAR NOT NULL,
    host VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    headers_json VARCHAR NOT NULL,
    body_seq BIGINT,
    max_retries INTEGER NOT NULL,
    caller_ip VARCHAR,
    topic_name VARCHAR,
    queue_name VARCHAR,
    schedule_id VARCHAR,
    flow_key VARCHAR,
    labels VARCHAR,
    slot_of BIGINT,
    options_json VARCHAR,
    PRIMARY KEY (seq),
    UNIQUE (id)
);

CREATE INDEX ix_messages_flow_key ON messages (tenant_id, flow_key) WHERE due_at IS NOT NULL AND flow_key IS NOT NULL;
CREATE INDEX ix_messages_finished ON messages (tenant_id, finished_at) WHERE finished_at IS NOT NULL;

CREATE INDEX ix_messages_queued ON messages (tenant_id, queue_name, seq) WHERE due_at IS NOT NULL AND queue_name IS NOT NULL;

CREATE INDEX ix_messages_due ON messages (tenant_id, due_at, seq) WHERE due_at IS NOT NULL AND queue_name IS NULL;

CREATE INDEX ix_messages_shared_body ON messages (body_seq) WHERE body_seq != seq;

CREATE INDEX ix_messages_slot ON messages (tenant_id, slot_of) WHERE due_at IS NOT NULL AND slot_of IS NOT NULL;

CREATE TABLE bodies (
    seq INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (seq)
);

CREATE TABLE log_entries (
    seq INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    message_seq BIGINT NOT NULL,
    time_at BIGINT NOT NULL,
    state VARCHAR NOT NULL,
    retried INTEGER NOT NULL,
    next_delivery_at BIGINT,
    error VARCHAR,
    response_status INTEGER,
    response_headers_json VARCHAR,
    response_body BLOB,
    request_headers_json VARCHAR,
    PRIMARY KEY (seq)
);

CREATE INDEX ix_log_entries_message ON log_entries (message_seq);

CREATE TABLE dead_letters (
    message_seq INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    dlq_id VARCHAR NOT NULL,
    failed_at BIGINT NOT NULL,
    response_status INTEGER NOT NULL,
    response_headers_json VARCHAR NOT NULL,
    response_body BLOB NOT NULL,
    error VARCHAR,
    PRIMARY KEY (message_seq)
);

CREATE INDEX ix_dead_letters_failed ON dead_letters (tenant_id, failed_at);

CREATE TABLE deduplications (
    tenant_id INTEGER NOT NULL,
    "key" VARCHAR NOT NULL,
    message_id VARCHAR NOT NULL,
    url VARCHAR NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, "key")
);

CREATE INDEX ix_deduplications_expires_at ON deduplications (expires_at);

CREATE TABLE queues (
    tenant_id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    parallelism INTEGER NOT NULL,
    is_paused BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE url_groups (
    tenant_id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    endpoints_json VARCHAR NOT NULL,
    headers_json VARCHAR NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE schedules (
    tenant_id INTEGER NOT NULL,
    id VARCHAR NOT NULL,
    cron VARCHAR NOT NULL,
    destination VARCHAR NOT NULL,
    "query" VARCHAR NOT NULL,
    lines_json VARCHAR NOT NULL,
    body_seq BIGINT,
    caller_ip VARCHAR,
    created_at BIGINT NOT NULL,
    is_paused BOOLEAN NOT NULL,
    next_at BIGINT,
    last_at BIGINT,
    last_states_json VARCHAR NOT NULL,
    error VARCHAR,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE flow_keys (
    tenant_id INTEGER NOT NULL,
    "key" VARCHAR NOT NULL,
    parallelism INTEGER,
    rate INTEGER,
    period_seconds INTEGER NOT NULL,
    is_paused BOOLEAN NOT NULL,
    is_pinned_parallelism BOOLEAN NOT NULL,
    is_pinned_rate BOOLEAN NOT NULL,
    rate_count INTEGER NOT NULL,
    period_start_at BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, "key")
);

CREATE INDEX ix_flow_keys_used ON flow_keys (tenant_id, used_at);

CREATE TABLE workflow_runs (
    seq INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    id VARCHAR NOT NULL,
    url VARCHAR NOT NULL,
    created_at BIGINT NOT NULL,
    init_seq BIGINT NOT NULL,
    init_message_id VARCHAR NOT NULL,
    caller_ip VARCHAR,
    flow_key VARCHAR,
    labels VARCHAR,
    invoker_id VARCHAR,
    trigger_json VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    ended_at BIGINT,
    response VARCHAR,
    dlq_id VARCHAR,
    response_status INTEGER,
    failure_json VARCHAR,
    callback_state VARCHAR,
    callback_json VARCHAR,
    PRIMARY KEY (seq)
);

CREATE INDEX ix_workflow_runs_id ON workflow_runs (tenant_id, id, seq);

CREATE INDEX ix_workflow_runs_dlq ON workflow_runs (tenant_id, ended_at, seq) WHERE dlq_id IS NOT NULL;

CREATE INDEX ix_workflow_runs_created ON workflow_runs (tenant_id, created_at, seq);

CREATE INDEX ix_workflow_runs_invoker ON workflow_runs (tenant_id, invoker_id);

CREATE INDEX ix_workflow_runs_active ON workflow_runs (tenant_id, seq) WHERE ended_at IS NULL;

CREATE TABLE workflow_entries (
    run_seq INTEGER NOT NULL,
    position INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    message_seq BIGINT NOT NULL,
    message_id VARCHAR NOT NULL,
    call_type VARCHAR NOT NULL,
    created_at BIGINT NOT NULL,
    body BLOB,
    PRIMARY KEY (run_seq, position)
);

CREATE INDEX ix_workflow_entries_message_id ON workflow_entries (message_id);

CREATE INDEX ix_workflow_entries_message ON workflow_entries (message_seq);

CREATE TABLE workflow_waiters (
    seq INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    run_seq BIGINT NOT NULL,
    event_id VARCHAR NOT NULL,
    registered_at BIGINT NOT NULL,
    deadline_at BIGINT NOT NULL,
    wait_json VARCHAR NOT NULL,
    PRIMARY KEY (seq)
);

CREATE INDEX ix_workflow_waiters_run ON workflow_waiters (run_seq);

CREATE TABLE workflow_events (
    seq INTEGER NOT NULL,
    tenant_id INTEGER NOT NULL,
    run_seq BIGINT NOT NULL,
    event_id VARCHAR NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (seq)
);

CREATE INDEX ix_workflow_events_run ON workflow_events (run_seq);

CREATE TABLE bulk_actions (
    tenant_id INTEGER NOT NULL,
    id VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    filter_json VARCHAR NOT NULL,
    total INTEGER NOT NULL,
    processed INTEGER NOT NULL,
    until_seq BIGINT NOT NULL,
    cursor_at BIGINT,
    cursor_seq BIGINT,
    created_at BIGINT NOT NULL,
    completed_at BIGINT,
    PRIMARY KEY (tenant_id, id)
);

INSERT INTO store_schema (version) VALUES (3);
