"""The event log over Apache Kafka. Nothing here loads aiokafka before a broker is needed."""

from vigie.platform.eventlog.kafka.installation import Identity
from vigie.platform.eventlog.kafka.log import KafkaEventLog, open_kafka_event_log
from vigie.platform.eventlog.kafka.settings import KafkaConfig

__all__ = ["Identity", "KafkaConfig", "KafkaEventLog", "open_kafka_event_log"]
