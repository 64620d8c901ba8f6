"""A program as somebody might write it in Python: publishes to the local bus, and reconnects.

Prints how many publishes of QoS 1 were acknowledged, and how many were refused (version 5)."""

import sys
import threading

import paho.mqtt.client as mqtt

version, host, port, user, password, topics, count = sys.argv[1:]
protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
clean = {} if version == "5" else {"clean_session": False}
client = mqtt.Client(f"paho-{user}-{version}", protocol=protocol, **clean)
client.username_pw_set(user, password)
client.max_inflight_messages_set(100)
client.max_queued_messages_set(0)
client.reconnect_delay_set(min_delay=1, max_delay=1)

lock = threading.Condition()
acknowledged, refused = set(), set()


def published(_client, _userdata, mid, *rest):
    with lock:
        acknowledged.add(mid)
        lock.notify()


def logged(_client, _userdata, _level, text):
    # paho has no other word for a PUBACK that says no.
    if text.startswith("Received PUBACK") and "RC:0x00" not in text and "RC:Success" not in text:
        with lock:
            refused.add(text)


client.on_publish = published
client.on_log = logged
client.connect(host, int(port), keepalive=30)
client.loop_start()
sent = set()
for number in range(int(count)):
    topic = topics.format(number)
    sent.add(client.publish(topic, str(number), qos=1).mid)
with lock:
    done = lock.wait_for(lambda: sent <= acknowledged, timeout=100)
print(f"acknowledged {len(sent & acknowledged)} of {len(sent)}", flush=True)
client.disconnect()
client.loop_stop()
sys.exit(0 if done else 1)
