"""From a run of writes to few statements: rows for one table travel together.

Grouping must not change what the writes mean. Rows of messages go in this order: accepted, rescheduled,
noted, finished, which is the order of a message's life; log entries keep theirs; of several writes to one
named thing (a queue, a schedule …) only the last counts.
"""

from dataclasses import dataclass, field
from typing import assert_never

from emulator.broker import writes as w
from emulator.store import mapping
from emulator.store.mapping import Row
from emulator.store.tables import BulkActionRow, FlowKeyRow, QueueRow, ScheduleRow, UrlGroupRow
from emulator.store.workflow_batch import WorkflowBatch

EntityTable = type[QueueRow] | type[UrlGroupRow] | type[ScheduleRow] | type[FlowKeyRow] | type[BulkActionRow]


@dataclass(slots=True)
class Batch:
    """Rows by statement. ``entities`` maps ``(table, tenant, name)`` to the row to keep, or ``None`` to delete."""

    messages: list[Row] = field(default_factory=list)
    bodies: list[Row] = field(default_factory=list)
    rescheduled: list[Row] = field(default_factory=list)
    cancel_noted: list[Row] = field(default_factory=list)
    finished: list[Row] = field(default_factory=list)
    logs: list[Row] = field(default_factory=list)
    dead_letters: list[Row] = field(default_factory=list)
    removed_dead_letters: list[Row] = field(default_factory=list)
    deduplications: dict[tuple[int, str], Row] = field(default_factory=dict)
    entities: dict[tuple[EntityTable, int, str], Row | None] = field(default_factory=dict)
    keys: dict[int, Row] = field(default_factory=dict)
    clocks: dict[int, Row] = field(default_factory=dict)
    workflows: WorkflowBatch = field(default_factory=WorkflowBatch)

    def add(self, tenant_id: int, write: w.RecordWrite) -> None:  # noqa: C901, PLR0912  one arm a kind of write
        """Turn one of a tenant's writes into a row, behind those that came before."""
        match write:
            case w.Logged(entry):
                self.logs.append(mapping.log_row(tenant_id, entry))
            case w.MessageAccepted(message, body):
                self.messages.append(mapping.message_row(tenant_id, message))
                if body is not None:
                    self.bodies.append({"seq": message.body_seq, "tenant_id": tenant_id, "body": body})
            case w.MessageFinished(seq, state, retried, finished_at):
                self.finished.append(
                    {
                        "key": seq,
                        "new_state": state.value,
                        "new_retried": retried,
                        "new_finished_at": finished_at,
                    }
                )
            case w.MessageRescheduled(seq, due_at, retried, state):
                self.rescheduled.append(
                    {"key": seq, "new_state": state.value, "new_due_at": due_at, "new_retried": retried}
                )
            case w.CancelNoted(seq):
                self.cancel_noted.append({"key": seq})
            case w.DeadLettered(dead_letter):
                self.dead_letters.append(mapping.dead_letter_row(tenant_id, dead_letter))
            case w.DeadLetterRemoved(dlq_id):
                self.removed_dead_letters.append({"key": tenant_id, "key_dlq_id": dlq_id})
            case w.DeduplicationKept(key, message_id, url, expires_at):
                self.deduplications[tenant_id, key] = {
                    "tenant_id": tenant_id, "key": key, "message_id": message_id, "url": url,
                    "expires_at": expires_at,
                }  # fmt: skip
            case w.QueueSaved(queue):
                self.entities[QueueRow, tenant_id, queue.name] = mapping.queue_row(tenant_id, queue)
            case w.QueueDeleted(name):
                self.entities[QueueRow, tenant_id, name] = None
            case w.UrlGroupSaved(group):
                self.entities[UrlGroupRow, tenant_id, group.name] = mapping.url_group_row(tenant_id, group)
            case w.UrlGroupDeleted(name):
                self.entities[UrlGroupRow, tenant_id, name] = None
            case w.ScheduleSaved(schedule, body):
                self.entities[ScheduleRow, tenant_id, schedule.id] = mapping.schedule_row(tenant_id, schedule)
                if body is not None:
                    self.bodies.append({"seq": schedule.body_seq, "tenant_id": tenant_id, "body": body})
            case w.ScheduleDeleted(schedule_id):
                self.entities[ScheduleRow, tenant_id, schedule_id] = None
            case w.FlowKeySaved(flow_key):
                self.entities[FlowKeyRow, tenant_id, flow_key.key] = mapping.flow_key_row(tenant_id, flow_key)
            case w.BulkActionSaved(action):
                self.entities[BulkActionRow, tenant_id, action.id] = mapping.bulk_action_row(
                    tenant_id, action
                )
            case w.FlowKeyDeleted(key):
                self.entities[FlowKeyRow, tenant_id, key] = None
            case w.KeysRotated(keys):
                self.keys[tenant_id] = {
                    "key": tenant_id, "new_current_key": keys.current, "new_next_key": keys.next,
                }  # fmt: skip
            case w.ClockTurned(now_at):
                self.clocks[tenant_id] = {"key": tenant_id, "new_clock_at": now_at}
            case w.LayerWrite():
                self.workflows.add(tenant_id, write)
            case _:
                assert_never(write)
