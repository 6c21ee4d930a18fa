"""The configuration: what is read, from where, and how a mistake is said."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config import Config, load
from monitor.config_types import duration
from monitor.errors import ConfigError
from monitor.payloads import FORMATS, PRESETS

STREAM = """
[[stream]]
name = "pumps"
topic = "plant/{line}/{asset}/telemetry"
"""

FULL = """
[mqtt]
host = "127.0.0.1"
port = 1883
client_id = "edge-1"
# protocol = "5" | "3.1.1", keepalive, session_expiry (default 24 h), username, password_file,
# [mqtt.tls] ca_file, cert_file, key_file

[[stream]]
name = "pumps"
model = "bundles/pumps"                 # "bundles/{asset}" = one bundle per asset
topic = "plant/{line}/{asset}/telemetry"     # {asset}; {sensor} where each has its own topic
# asset = "{line}-{asset}"
payload = "json"
# time = "datetime"
[stream.sensors]                        # sensor of the model = path in the payload
current = "ENERGY.Current"              # a.b, [2], [key=value]
bearing = { path = "sensors[id=ch7].v", unit = "mm/s", scale = 0.001, min = 0, max = 50 }

[alerts]
prefix = "sensor-monitor"
# instance = "edge-1"                   # default: client_id
[alerts.severity]
critical = 3.0

[http]
listen = "127.0.0.1:9787"

[state]
# directory: default $STATE_DIRECTORY (systemd), else the user's state folder
"""

Load = Callable[..., Config]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SENSOR_MONITOR_"):
            monkeypatch.delenv(name)
    for name in ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def read(tmp_path: Path) -> Load:
    def read(text: str, overrides: dict[str, Any] | None = None) -> Config:
        file = tmp_path / "edge.toml"
        file.write_text(text, encoding="utf-8")
        return load(file, overrides)

    return read


def problems_of(read: Load, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_code == 78
    return str(caught.value)


def test_the_documented_example_is_read(read: Load, tmp_path: Path) -> None:
    config = read(FULL)
    (stream,) = config.stream
    assert config.mqtt.client_id == config.instance == "edge-1"
    assert stream.model == tmp_path / "bundles/pumps"
    assert stream.pattern.filter == "plant/+/+/telemetry"
    assert stream.sensors["current"].path == "ENERGY.Current"
    bearing = stream.sensors["bearing"]
    assert (bearing.path, bearing.unit, bearing.scale, bearing.min, bearing.max) == (
        "sensors[id=ch7].v",
        "mm/s",
        0.001,
        0,
        50,
    )


def test_the_commented_keys_of_the_example_are_read(read: Load, tmp_path: Path) -> None:
    for name in ("pw", "ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("secret\n")
    config = read(
        FULL.replace(
            'client_id = "edge-1"',
            """client_id = "edge-1"
            protocol = "3.1.1"
            keepalive = "30s"
            session_expiry = "2d"
            username = "edge"
            password_file = "pw"
            [mqtt.tls]
            ca_file = "ca.pem"
            cert_file = "cert.pem"
            key_file = "key.pem"
            """,
        )
        .replace('# time = "datetime"', 'time = "datetime"\nlateness = "500ms"')
        .replace('# instance = "edge-1"', 'instance = "hall-3"\nhold = "10m"\nrenotify = 60')
        .replace("# directory", 'directory = "state" #')
        .replace("bundles/pumps", "bundles/{asset}")
    )
    assert config.mqtt.password is not None
    assert config.mqtt.password.get_secret_value() == "secret"
    assert (config.mqtt.keepalive, config.mqtt.session_expiry) == (30, 172800)
    assert config.mqtt.tls is not None
    assert config.mqtt.tls.ca_file == tmp_path / "ca.pem"
    assert (config.stream[0].time, config.stream[0].lateness) == ("datetime", 0.5)
    assert config.stream[0].model == tmp_path / "bundles/{asset}"
    assert (config.instance, config.alerts.hold, config.alerts.renotify) == ("hall-3", 600, 60)
    assert config.state.directory == tmp_path / "state"


def test_what_is_left_out_has_the_documented_default(
    read: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/edge")
    config = read(STREAM)
    (stream,) = config.stream
    assert (config.mqtt.host, config.mqtt.port, config.mqtt.protocol) == ("127.0.0.1", 1883, "5")
    assert (config.mqtt.session_expiry, config.mqtt.keepalive) == (86400, 15)
    assert config.mqtt.client_id.startswith("sensor-monitor-")
    assert (stream.model, stream.payload, stream.time, stream.lateness) == (
        None,
        "json",
        None,
        None,
    )
    assert (stream.max_assets, stream.max_payload, stream.accept_retained) == (10000, 65536, False)
    assert (config.alerts.prefix, config.alerts.severity.critical) == ("sensor-monitor", 3.0)
    assert (config.alerts.hold, config.alerts.renotify, config.alerts.expire) == (0, 14400, 86400)
    assert config.http.listen == "127.0.0.1:9787"
    assert config.state.directory == Path("/home/edge/.local/state/sensor-monitor")


def test_systemds_state_folder_is_the_default(read: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/home/edge/state")
    assert read(STREAM).state.directory == Path("/home/edge/state/sensor-monitor")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/sensor-monitor:/var/lib/other")
    assert read(STREAM).state.directory == Path("/var/lib/sensor-monitor")


def test_tls_has_its_own_default_port(read: Load) -> None:
    assert read(STREAM + "[mqtt.tls]\n").mqtt.port == 8883
    assert read(STREAM + "[mqtt]\nport = 1884\n[mqtt.tls]\n").mqtt.port == 1884


def test_a_file_from_windows_is_read(tmp_path: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_bytes(b"\xef\xbb\xbf" + STREAM.replace("\n", "\r\n").encode())
    assert load(file).stream[0].name == "pumps"


def test_a_sensor_table_without_a_path_reads_its_own_name(read: Load) -> None:
    config = read(STREAM + "[stream.sensors]\nspeed = { max = 9 }\n")
    assert config.stream[0].sensors["speed"].path is None


def test_a_sensor_may_be_called_like_a_key_of_the_stream_when_it_is_a_table(read: Load) -> None:
    config = read(STREAM + '[stream.sensors]\ntime = { path = "uptime" }\n')
    assert config.stream[0].sensors["time"].path == "uptime"


WRONG: dict[str, tuple[str, list[str]]] = {
    "no stream": ("[mqtt]\n", ["stream: is missing", "[[stream]]"]),
    "empty stream list": ("stream = []", ["stream = [...]", "at least one [[stream]]"]),
    "single brackets": ('[stream]\nname = "x"', ["stream: wanted", "double brackets"]),
    "no name": ('[[stream]]\ntopic = "a/{asset}"', ["stream 1 . name", "is missing"]),
    "no topic": ('[[stream]]\nname = "x"', ['stream "x" . topic', "is missing", "{asset}"]),
    "same name twice": (STREAM + STREAM, ['"pumps"', "two streams"]),
    "name": (STREAM.replace("pumps", "pu/mps"), ['"pu/mps"', "letters, digits"]),
    "wildcard": (STREAM.replace("{line}", "+"), ['stream "pumps" . topic = ', "'+'", "{line}"]),
    "no asset": (STREAM.replace("{asset}", "p7"), ["names no {asset}", "plant/{asset}/telemetry"]),
    "unknown table": (STREAM + "[mqt]\n", ['unknown key "mqt"', "did you mean mqtt?"]),
    "unknown key": (STREAM + 'latenes = "5s"', ['stream "pumps": ', "did you mean lateness?"]),
    "strange key": (STREAM + "[http]\nzzz = 1", ['http: unknown key "zzz"', "one of listen"]),
    "key under the wrong header": (
        STREAM + '[alerts.severity]\ncritical = 3\nhold = "5m"',
        ['alerts . severity: unknown key "hold"', "table above"],
    ),
    "stream key under sensors": (
        STREAM + '[stream.sensors]\ncurrent = "a.b"\npayload = "json"',
        ['stream "pumps" . sensors', "payload", "move it above"],
    ),
    "stream number under sensors": (
        STREAM + "[stream.sensors]\nlateness = 5",
        ['stream "pumps" . sensors', "lateness", "move it above"],
    ),
    "sensor is no path": (STREAM + "[stream.sensors]\na = 5", ["a = 5", "ENERGY.Current"]),
    "sensor key": (
        STREAM + '[stream.sensors]\na = { path = "x", scal = 2 }',
        ['stream "pumps" . sensors . a', "did you mean scale?"],
    ),
    "scale 0": (STREAM + "[stream.sensors]\na = { scale = 0 }", ["sensors . a: ", "scale = 0"]),
    "scale nan": (STREAM + "[stream.sensors]\na = { scale = nan }", ["NaN", "finite"]),
    "min over max": (
        STREAM + "[stream.sensors]\na = { min = 5, max = 1 }",
        ["min = 5", "max = 1", "min < max"],
    ),
    "sensors is a list": (STREAM + "sensors = []", ["sensors = [...]", "wanted a valid dict"]),
    "empty sensor path": (
        STREAM + '[stream.sensors]\na = ""',
        ["sensors . a . path", "at least 1"],
    ),
    "payload": (
        STREAM + 'payload = "cvs"',
        ['stream "pumps" . payload = "cvs"', "json, number", "tasmota", "did you mean csv?"],
    ),
    "number without sensor": (STREAM + 'payload = "number"', ['stream "pumps": ', "{sensor}"]),
    "json with sensor": (
        STREAM.replace("{line}", "{sensor}"),
        ['payload = "json"', 'wanted payload = "number"'],
    ),
    "asset form": (STREAM + 'asset = "{line"', ['asset = "{line"', 'such as "{line}-{asset}"']),
    "asset in a number": (
        '[[stream]]\nname = "x"\ntopic = "a/{sensor}"\npayload = "number"\nasset = "id"',
        ["carries no id for the asset"],
    ),
    "one of sensor and value": (
        STREAM + 'sensor = "n"',
        ["one of sensor and value", "wanted both"],
    ),
    "time of senml": (
        STREAM + 'payload = "senml"\ntime = "t"',
        ["say their time themselves", 'time = "arrival"'],
    ),
    "sparkplug topic": (
        STREAM + 'payload = "sparkplug"',
        ["all messages of a node", "spBv1.0/{group}/{_}/{node}/{device#}"],
    ),
    "senml with sensor": (
        STREAM.replace("{line}", "{sensor}") + 'payload = "senml"',
        ["name their sensors", "without {sensor}"],
    ),
    "columns of json": (STREAM + 'columns = ["a"]', ['columns and payload = "json"', "for csv"]),
    "columns twice": (STREAM + 'payload = "csv"\ncolumns = ["a", "a"]', ["names 'a' twice"]),
    "delimiter": (STREAM + 'payload = "csv"\ndelimiter = ";;"', ["delimiter", "at most 1"]),
    "timezone": (STREAM + 'timezone = "CEST+1"', ['timezone = "CEST+1"', '"Europe/Berlin"']),
    "time unit": (STREAM + 'time_unit = "min"', ['time_unit = "min"', "'s', 'ms', 'us' or 'ns'"]),
    "shared": (
        STREAM.replace("plant", "$share/g/plant"),
        ['stream "pumps" . topic', "each window needs every message", "allow_shared = true"],
    ),
    "source without topic": (
        STREAM + '[[stream.source]]\npayload = "number"',
        ['stream "pumps" . source . 0 . topic', "is missing"],
    ),
    "sources with other labels": (
        STREAM + '[[stream.source]]\ntopic = "b/{asset}"',
        ["labels line in plant/", "(none) in b/{asset}", "{_}"],
    ),
    "key of a source": (
        STREAM + '[[stream.source]]\ntopic = "{line}/{asset}"\npayloud = "json"',
        ['stream "pumps" . source . 0', "did you mean payload?"],
    ),
    "own prefix": (
        STREAM.replace("plant/{line}/{asset}/telemetry", "{line}/{_}/{asset}"),
        ['stream "pumps" . topic', "what we publish on sensor-monitor/+/status"],
    ),
    "number with time": (
        STREAM.replace("{line}", "{sensor}") + 'payload = "number"\ntime = "t"',
        ["no time"],
    ),
    "duration": (
        STREAM + 'lateness = "5 parsecs"',
        ['stream "pumps" . lateness = "5 parsecs": wanted a duration', '"500ms"'],
    ),
    "negative duration": (STREAM + "lateness = -1", ["lateness = -1", "wanted a duration"]),
    "boolean duration": (STREAM + "lateness = true", ["lateness = true"]),
    "endless duration": (STREAM + "[alerts]\nexpire = inf", ["alerts . expire", "3650d"]),
    "no re-notify": (STREAM + "[alerts]\nrenotify = 0", ["renotify = 0", "greater than 0"]),
    "port": (STREAM + "[mqtt]\nport = 99999", ["mqtt . port = 99999", "65535"]),
    "port text": (STREAM + '[mqtt]\nport = "x"', ['mqtt . port = "x"', "a whole number"]),
    "port true": (STREAM + "[mqtt]\nport = true", ["mqtt . port = true"]),
    "host with port": (STREAM + '[mqtt]\nhost = "b:1883"', ['mqtt . host = "b:1883"', "alone"]),
    "host list": (STREAM + '[mqtt]\nhost = ["a"]', ["mqtt . host = [...]", "wanted text"]),
    "mqtt is text": ('mqtt = "x"' + STREAM, ['mqtt = "x"', "wanted a table"]),
    "protocol": (STREAM + "[mqtt]\nprotocol = 5", ["mqtt . protocol = 5", "'5' or '3.1.1'"]),
    "client id in topics": (STREAM + '[mqtt]\nclient_id = "a/b"', ['client_id = "a/b"', "'/'"]),
    "empty client id": (STREAM + '[mqtt]\nclient_id = ""', ["client_id", "at least 1"]),
    "prefix": (STREAM + '[alerts]\nprefix = "a/#"', ['alerts . prefix = "a/#"', "'#'"]),
    "critical": (STREAM + "[alerts.severity]\ncritical = 0.5", ["critical = 0.5", "or equal to 1"]),
    "listen": (STREAM + '[http]\nlisten = "9787"', ['listen = "9787"', "127.0.0.1:9787"]),
    "listen port": (STREAM + '[http]\nlisten = "a:99999"', ['listen = "a:99999"']),
    "no such file": (STREAM + '[mqtt.tls]\nca_file = "nope.pem"', ["ca_file", "nope.pem"]),
    "key alone": (STREAM + '[mqtt.tls]\nkey_file = "edge.toml"', ["mqtt . tls", "cert_file"]),
    "password file": (STREAM + '[mqtt]\npassword_file = "no"', ["mqtt . password_file", "no file"]),
    "model": (STREAM + 'model = "b/{line}"', ["model", "{line}", "{asset}"]),
    "payload size": (STREAM + 'max_payload = "1GiB"', ['max_payload = "1GiB"', "268435455"]),
    "assets": (STREAM + "max_assets = 0", ["max_assets = 0"]),
    "syntax": ("[mqtt]\nhost = \n", ["not TOML", "line 2", "column 8"]),
    "huge number": (STREAM + "max_assets = " + "9" * 5000, ["not TOML"]),
    "deep nesting": ("a = " + "[" * 100_000, ["not TOML"]),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_is_said_with_file_place_value_and_wish(
    read: Load, tmp_path: Path, text: str, said: list[str]
) -> None:
    message = problems_of(read, text)
    assert message.startswith(f"{tmp_path}/edge.toml: ")
    assert "\n" not in message
    for part in said:
        assert part in message


def test_several_mistakes_are_one_error_with_a_line_each(read: Load) -> None:
    lines = problems_of(
        read,
        STREAM
        + 'lateness = "soon"\n'
        + STREAM.replace("pumps", "fans").replace("{line}", "#")
        + "[mqtt]\nport = 0\n",
    ).splitlines()
    assert len(lines) == 3
    assert any('stream "pumps" . lateness = "soon"' in line for line in lines)
    assert any('stream "fans" . topic' in line for line in lines)
    assert any("mqtt . port = 0" in line for line in lines)


@pytest.mark.parametrize("kind", ["missing", "folder", "latin-1"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "edge.toml"
    if kind == "folder":
        file.mkdir()
    elif kind == "latin-1":
        file.write_bytes(b'[mqtt]\nhost = "\xe4"')
    with pytest.raises(ConfigError, match=r"edge\.toml: (cannot be read|is not UTF-8)"):
        load(file)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0),
        (2.5, 2.5),
        ("30", 30),
        ("500ms", 0.5),
        ("5s", 5),
        ("10m", 600),
        ("4h", 14400),
        ("2d", 172800),
        ("1.5 h", 5400),
    ],
)
def test_durations_are_numbers_or_texts_with_a_unit(text: object, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5w", "5 s s", "1_000", "٣s", "-5s", "nan", "inf", "1e3", None, [5], "9999d"]
)
def test_nothing_else_is_a_duration(text: object) -> None:
    with pytest.raises(ValueError, match="wanted a duration"):
        duration(text)


# Where values come from

LAYERS = ("command line", "environment", "credentials", "file")
KEYS: dict[tuple[str, ...], Callable[[int], str | int]] = {
    ("mqtt", "host"): lambda n: f"host-{n}",
    ("mqtt", "keepalive"): lambda n: 20 + n,
    ("mqtt", "username"): lambda n: f"user-{n}",
    ("alerts", "severity", "critical"): lambda n: 2 + n,
    ("alerts", "prefix"): lambda n: f"prefix-{n}",
    ("http", "listen"): lambda n: f"127.0.0.1:{9000 + n}",
}


@settings(max_examples=60, deadline=None)
@given(given_by=st.fixed_dictionaries({key: st.sets(st.sampled_from(range(4))) for key in KEYS}))
def test_of_several_sources_the_upper_one_counts(
    given_by: dict[tuple[str, ...], set[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("config")
    credentials = folder / "credentials"
    credentials.mkdir()
    overrides: dict[str, Any] = {}
    lines = list[str](STREAM.splitlines())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
        for key, layers in given_by.items():
            for layer in layers:
                value = KEYS[key](layer)
                if LAYERS[layer] == "command line":
                    table = overrides
                    for part in key[:-1]:
                        table = table.setdefault(part, {})
                    table[key[-1]] = value
                elif LAYERS[layer] == "environment":
                    patch.setenv("SENSOR_MONITOR_" + "__".join(key).upper(), str(value))
                elif LAYERS[layer] == "credentials":
                    (credentials / "__".join(key)).write_text(f"{value}\n")
                else:
                    text = f'"{value}"' if isinstance(value, str) else value
                    lines.insert(0, f"{'.'.join(key)} = {text}")
        file = folder / "edge.toml"
        file.write_text("\n".join(lines))
        config = load(file, overrides)
        default = Config.model_validate({"stream": config.stream})
    for key, layers in given_by.items():
        found: Any = config
        expected: Any = default
        for part in key:
            found, expected = getattr(found, part), getattr(expected, part)
        assert found == (KEYS[key](min(layers)) if layers else expected)


def test_the_environment_reaches_tables_within_tables(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    monkeypatch.setenv("SENSOR_MONITOR_MQTT__TLS__CA_FILE", "ca.pem")
    config = read(STREAM)
    assert config.mqtt.tls is not None
    assert config.mqtt.tls.ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SENSOR_MONITOR_MQTT__PROT", "did you mean SENSOR_MONITOR_MQTT__PORT?"),
        ("SENSOR_MONITOR_MQTT_HOST", "did you mean SENSOR_MONITOR_MQTT__HOST?"),
        ("SENSOR_MONITOR_MQTT", "unknown variable"),
        ("SENSOR_MONITOR_", "unknown variable"),
        ("SENSOR_MONITOR_STREAM", "lists cannot be set here"),
        ("SENSOR_MONITOR_STREAM__0__NAME", "lists cannot be set here"),
        ("SENSOR_MONITOR_MQTT__PORT__X", "unknown variable"),
    ],
)
def test_an_unknown_variable_is_refused(
    read: Load, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv(name, "{}")
    message = problems_of(read, STREAM)
    assert message.startswith(f"environment: {name}: ")
    assert said in message


def test_a_wrong_value_is_blamed_on_the_source_it_came_from(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mqtt__keepalive").write_text("often")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("SENSOR_MONITOR_MQTT__PORT", "abc")
    with pytest.raises(ConfigError) as caught:
        read(STREAM + "[mqtt]\nport = 1883\n", {"http": {"listen": "x"}})
    port, keepalive, listen = sorted(
        str(caught.value).splitlines(), key=lambda line: "keep" in line or 2 * ("http" in line)
    )
    assert port.startswith('environment: SENSOR_MONITOR_MQTT__PORT = "abc": wanted')
    assert keepalive.startswith('credentials: mqtt__keepalive = "often": wanted')
    assert listen.startswith('command line: http . listen = "x": wanted')


# Secrets


def test_the_password_comes_from_a_credential(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mqtt__password").write_text("hunter2\n")
    (tmp_path / "backup.key").write_text("somebody else's")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    config = read(STREAM + '[mqtt]\nusername = "edge"')
    assert config.mqtt.password is not None
    assert config.mqtt.password.get_secret_value() == "hunter2"


@pytest.mark.parametrize("name", ["mqtt_password", "mqtt.password", "mqtt__pasword", "mqtt"])
def test_a_credential_that_nearly_has_our_name_is_refused(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / name).write_text("hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    message = problems_of(read, STREAM)
    assert message.startswith(f"credentials: {name}: unknown credential")
    assert "hunter2" not in message


def test_a_missing_credentials_folder_is_an_empty_one(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "nowhere"))
    assert read(STREAM).mqtt.password is None


def test_a_credential_that_is_no_text_is_one_clear_error(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mqtt__password").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert problems_of(read, STREAM).startswith("credentials: ")


def test_a_password_in_the_file_is_refused_and_not_shown(read: Load) -> None:
    message = problems_of(read, STREAM + '[mqtt]\npassword = "hunter2"')
    assert "password_file" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "table",
    [
        'host = "mqtt://edge:hunter2@broker"',
        'pasword = "hunter2"',
        'host = "broker.example"\nport = "x"',
        'host = "broker.example"',
    ],
)
def test_no_mistake_shows_a_password(
    read: Load, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setenv("SENSOR_MONITOR_MQTT__PASSWORD", "hunter2")
    assert "hunter2" not in problems_of(read, f'{STREAM}[mqtt]\nusername = "edge"\n{table}')


def test_a_password_of_the_wrong_type_is_not_shown(read: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        read(STREAM, {"mqtt": {"username": "edge", "password": 271828}})
    assert str(caught.value).startswith("command line: mqtt . password: wanted")
    assert "271828" not in str(caught.value)


def test_a_shown_configuration_hides_the_password(
    read: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENSOR_MONITOR_MQTT__PASSWORD", "hunter2")
    config = read(STREAM + '[mqtt]\nusername = "edge"')
    assert "hunter2" not in f"{config} {config!r} {config.model_dump()} {config.model_dump_json()}"


@pytest.mark.parametrize(
    ("table", "allowed"),
    [
        ('host = "127.0.0.1"', True),
        ('host = "127.9.9.9"', True),
        ('host = "::1"', True),
        ('host = "localhost"', True),
        ('host = "192.0.2.7"', False),
        ('host = "broker.example"', False),
        ('host = "localhost.example"', False),
        ('host = "broker.example"\nallow_plaintext_password = true', True),
        ('host = "broker.example"\n[mqtt.tls]', True),
    ],
)
def test_a_password_crosses_the_network_only_encrypted_or_by_an_explicit_word(
    read: Load, monkeypatch: pytest.MonkeyPatch, table: str, allowed: bool
) -> None:
    monkeypatch.setenv("SENSOR_MONITOR_MQTT__PASSWORD", "hunter2")
    text = f'{STREAM}[mqtt]\nusername = "edge"\n{table}'
    if allowed:
        assert read(text).mqtt.password is not None
    else:
        message = problems_of(read, text)
        assert "allow_plaintext_password = true" in message
        assert "hunter2" not in message


def test_a_password_needs_a_username(read: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSOR_MONITOR_MQTT__PASSWORD", "hunter2")
    assert "no username" in problems_of(read, STREAM)


@pytest.mark.parametrize(("content", "said"), [(b"\n", "is empty"), (b"p\xe4ss", "not UTF-8")])
def test_a_password_file_without_a_readable_password_is_refused(
    read: Load, tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "pw").write_bytes(content)
    message = problems_of(read, STREAM + '[mqtt]\nusername = "edge"\npassword_file = "pw"')
    assert "mqtt . password: " in message
    assert said in message


def test_nothing_changes_after_it_is_read(read: Load) -> None:
    config = read(STREAM)
    with pytest.raises(ValueError, match="frozen"):
        config.mqtt.port = 1  # pyright: ignore[reportAttributeAccessIssue]


PRESET_TOPICS = {
    "zigbee2mqtt": "zigbee2mqtt/+",
    "tasmota": "tele/+/SENSOR",
    "shelly": "shellies/+/#",
    "shelly2": "+/events/rpc",
    "esphome": "+/sensor/+/state",
    "homeassistant": "homeassistant/+/+/state",
    "sparkplug": "spBv1.0/+/+/+/#",
}


@pytest.mark.parametrize("name", PRESET_TOPICS)
def test_a_preset_stands_for_topic_and_payload_and_gives_way_to_what_is_said(
    read: Load, name: str
) -> None:
    (stream,) = read(f'[[stream]]\nname = "a"\npayload = "{name}"').stream
    assert stream.pattern.filter == PRESET_TOPICS[name]
    assert stream.payload in FORMATS
    last = "/{_}/{node}/{device#}" if name == "sparkplug" else "/{asset}/{sensor}"
    own = f'[[stream]]\nname = "a"\npayload = "{name}"\ntopic = "spBv1.0/g{last}"\n'
    (stream,) = read(own + ('value = "v"' if stream.payload == "json" else "")).stream
    assert stream.topic == f"spBv1.0/g{last}"


@pytest.mark.parametrize(
    "keys",
    [
        'topic = "plant/{asset}/{sensor}"\npayload = "number"',
        'topic = "plant/{asset}/{sensor#}"\nvalue = "v"',
        'topic = "plant/{asset}"\npayload = "senml"',
        'topic = "plant/{asset}"\nsensor = "n"\nvalue = "v"',
        'topic = "plant/{asset}"\npayload = "csv"\nsensor = "[0]"\nvalue = "[1]"',
        'payload = "sparkplug"',
    ],
)
@pytest.mark.parametrize("sensors", ['a = "x"\nb = "x"', 'x = {}\nb = "x"'])
def test_two_sensors_of_one_word_are_refused_where_a_word_names_the_sensor(
    read: Load, keys: str, sensors: str
) -> None:
    said = problems_of(read, f'[[stream]]\nname = "a"\n{keys}\n[stream.sensors]\n{sensors}')
    assert 'both with path = "x"; wanted a path of its own for each' in said
    more = f'[[stream]]\nname = "a"\ntopic = "p/{{asset}}"\n[[stream.source]]\n{keys}\n'
    said = problems_of(read, f"{more}[stream.source.sensors]\n{sensors}")
    assert 'both with path = "x"' in said


def test_two_sensors_may_be_made_of_one_field(read: Load) -> None:
    (stream,) = read(STREAM + '[stream.sensors]\na = "x"\nb = { path = "x", scale = 2 }').stream
    assert list(stream.sensors) == ["a", "b"]


def test_every_preset_is_shown() -> None:
    assert PRESET_TOPICS.keys() == PRESETS.keys()


def test_a_stream_of_sources_alone_has_the_first_as_its_own(read: Load) -> None:
    source = '[[stream.source]]\ntopic = "{}/{{asset}}"\ntime = "t"\nsensors = {{ x = "{}" }}\n'
    (stream,) = read(
        '[[stream]]\nname = "a"\n' + source.format("a", "b") + source.format("c", "d")
    ).stream
    assert [one.topic for one in stream.sources] == ["a/{asset}", "c/{asset}"]
    assert [one.sensors["x"].path for one in stream.sources] == ["b", "d"]
    assert stream.time == "t"
