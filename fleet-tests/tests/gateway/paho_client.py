"""A device as somebody might write it in Python: connects, subscribes, publishes, oversteps.

Prints what happened, line by line; paho.rs compares."""

import queue
import sys

import paho.mqtt.client as mqtt

version, port, client_id, ca, cert, key, prefix, foreign = sys.argv[1:]
protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
happened = queue.Queue()
clean = {} if version == "5" else {"clean_session": True}
client = mqtt.Client(client_id, protocol=protocol, **clean)
client.tls_set(ca, cert, key)


def number(code):
    return getattr(code, "value", code)


client.on_connect = lambda c, u, flags, code, *rest: happened.put(f"connected {number(code)}")
client.on_subscribe = lambda c, u, mid, codes, *rest: happened.put(
    f"granted {[number(code) for code in codes]}"
)
client.on_message = lambda c, u, m: happened.put(
    f"message {m.topic} qos {m.qos} retain {int(m.retain)} {m.payload.decode()}"
)
client.on_disconnect = lambda *rest: happened.put("connection ended")
client.connect("localhost", int(port), keepalive=30)
client.loop_start()


def expect():
    line = happened.get(timeout=15)
    print(line, flush=True)
    return line


expect()
client.subscribe(prefix + "desired", qos=1)
expect()
expect()
client.publish(prefix + "state", b"from paho", qos=1).wait_for_publish(timeout=15)
print("published and acknowledged", flush=True)
client.subscribe(foreign, qos=1)
expect()
published = client.publish(foreign, b"not mine", qos=1)
if version == "5":
    published.wait_for_publish(timeout=15)  # the PUBACK, whatever it says
    after = "still connected" if client.is_connected() else "connection ended"
    client.subscribe(prefix + "desired", qos=1)
    assert happened.get(timeout=15) == "granted [1]"
else:
    after = happened.get(timeout=15)
print(f"after a foreign publish: {after}", flush=True)
client.disconnect()
client.loop_stop()
