//! Parsing of CONNECT, and the checks that the parser leaves out.
//!
//! See decision 0086.

use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::Version;
use super::packet::fault_of;
use super::reason::{Code, Fault};

/// Largest last will in bytes, since it is kept as long as the connection.
const MAX_WILL: usize = 4096;

/// A valid CONNECT.
pub(super) struct Connect {
    pub(super) version: Version,
    pub(super) client_id: String,
    /// Keep-alive in seconds; 0: none.
    pub(super) keep_alive: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    pub(super) will: Option<WillPacket>,
    /// Most publishes that the client accepts without having acknowledged them.
    pub(super) receive_maximum: u16,
    /// Largest packet that the client accepts, in bytes.
    pub(super) maximum_packet: usize,
    /// Most topic aliases that the client accepts; 0: none.
    pub(super) topic_aliases: u16,
    /// True: the client asked for a session that outlives the connection.
    pub(super) session_expiry: bool,
}

/// Last will as the client sent it.
pub(super) struct WillPacket {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) retain: bool,
}

/// Refusal of a CONNECT: the reason, and the version to answer in, if it is known.
pub(super) type Refused = (Fault, Option<Version>);

/// Parses the body of a CONNECT. `qos_2`: QoS 2 is offered to the client.
pub(super) fn parse(body: &[u8], qos_2: bool) -> Result<Connect, Refused> {
    let (version, flags) = version_and_flags(body)?;
    let refuse = |fault| (fault, Some(version));
    check_flags(version, flags, qos_2).map_err(refuse)?;
    let connect = match version {
        Version::V311 => parse_v311(body),
        Version::V5 => parse_v5(body),
    }
    .map_err(refuse)?;
    if version == Version::V311 && connect.client_id.is_empty() && flags & 2 == 0 {
        let fault = Fault::new(Code::ClientId, "an empty client id needs a clean session");
        return Err(refuse(fault));
    }
    check_text(&connect).map_err(refuse)?;
    Ok(connect)
}

fn version_and_flags(body: &[u8]) -> Result<(Version, u8), Refused> {
    const UNSUPPORTED: Fault =
        Fault::new(Code::UnsupportedVersion, "only MQTT 3.1.1 and 5 are spoken here");
    let cut_short = (Fault::malformed("CONNECT cut short"), None);
    let level = match body {
        [0, 4, b'M', b'Q', b'T', b'T', rest @ ..] => rest,
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', _, ..] => return Err((UNSUPPORTED, None)),
        _ => return Err((Fault::protocol("not an MQTT CONNECT"), None)),
    };
    let (&level, rest) = level.split_first().ok_or(cut_short)?;
    let version = match level {
        4 => Version::V311,
        5 => Version::V5,
        _ => return Err((UNSUPPORTED, None)),
    };
    let flags = rest.first().ok_or((Fault::malformed("CONNECT cut short"), Some(version)))?;
    Ok((version, *flags))
}

fn check_flags(version: Version, flags: u8, qos_2: bool) -> Result<(), Fault> {
    let (will, will_qos, will_retain) = (flags & 4 != 0, (flags >> 3) & 3, flags & 0x20 != 0);
    if flags & 1 != 0 {
        return Err(Fault::malformed("reserved CONNECT flag"));
    }
    if !will && (will_qos != 0 || will_retain) {
        return Err(Fault::malformed("will flags without a will"));
    }
    match will_qos {
        3 => return Err(Fault::malformed("last will of QoS 3")),
        2 if !qos_2 => return Err(Fault::new(Code::QosNotSupported, "QoS 2 is not offered")),
        _ => {}
    }
    if version == Version::V311 && flags & 0x80 == 0 && flags & 0x40 != 0 {
        return Err(Fault::malformed("password without user name"));
    }
    Ok(())
}

fn parse_v311(body: &[u8]) -> Result<Connect, Fault> {
    let (packet, used) = v3_1_1::Connect::parse(body).map_err(connect_fault)?;
    whole(body, used)?;
    Ok(Connect {
        version: Version::V311,
        client_id: packet.client_id().to_owned(),
        keep_alive: packet.keep_alive(),
        user: packet.user_name().map(str::to_owned),
        password: packet.password().map(<[u8]>::to_vec),
        will: will(packet.will_topic(), packet.will_payload(), packet.will_retain()),
        receive_maximum: u16::MAX,
        maximum_packet: usize::MAX,
        topic_aliases: 0,
        session_expiry: false,
    })
}

fn parse_v5(body: &[u8]) -> Result<Connect, Fault> {
    let (packet, used) = v5_0::Connect::parse(body).map_err(connect_fault)?;
    whole(body, used)?;
    let mut connect = Connect {
        version: Version::V5,
        client_id: packet.client_id().to_owned(),
        keep_alive: packet.keep_alive(),
        user: packet.user_name().map(str::to_owned),
        password: packet.password().map(<[u8]>::to_vec),
        will: will(packet.will_topic(), packet.will_payload(), packet.will_retain()),
        receive_maximum: u16::MAX,
        maximum_packet: usize::MAX,
        topic_aliases: 0,
        session_expiry: false,
    };
    for property in packet.props() {
        match property {
            Property::ReceiveMaximum(value) if value.val() == 0 => {
                return Err(Fault::protocol("Receive Maximum of 0"));
            }
            Property::MaximumPacketSize(value) if value.val() == 0 => {
                return Err(Fault::protocol("Maximum Packet Size of 0"));
            }
            Property::ReceiveMaximum(value) => connect.receive_maximum = value.val(),
            Property::TopicAliasMaximum(value) => connect.topic_aliases = value.val(),
            Property::MaximumPacketSize(value) => {
                connect.maximum_packet = usize::try_from(value.val()).unwrap_or(usize::MAX);
            }
            Property::SessionExpiryInterval(value) => connect.session_expiry = value.val() != 0,
            Property::AuthenticationMethod(_) | Property::AuthenticationData(_) => {
                return Err(Fault::new(
                    Code::BadAuthMethod,
                    "no enhanced authentication is offered",
                ));
            }
            _ => {}
        }
    }
    Ok(connect)
}

fn will(topic: Option<&str>, payload: Option<&[u8]>, retain: bool) -> Option<WillPacket> {
    Some(WillPacket { topic: topic?.to_owned(), payload: payload?.to_vec(), retain })
}

fn whole(body: &[u8], used: usize) -> Result<(), Fault> {
    if used == body.len() {
        Ok(())
    } else {
        Err(Fault::malformed("bytes after the end of CONNECT"))
    }
}

/// Maps an error of the parser to a fault. The parser has errors of its own for texts that are not
/// UTF-8; they count as malformed.
fn connect_fault(error: MqttError) -> Fault {
    match error {
        MqttError::ClientIdentifierNotValid | MqttError::BadUserNameOrPassword => {
            Fault::malformed("CONNECT cut short, or a text in it is not UTF-8")
        }
        other => fault_of(other),
    }
}

fn check_text(connect: &Connect) -> Result<(), Fault> {
    let nul = |text: &str| text.contains('\0');
    if nul(&connect.client_id) || connect.user.as_deref().is_some_and(nul) {
        return Err(Fault::malformed("NUL in a text"));
    }
    let Some(will) = &connect.will else { return Ok(()) };
    if nul(&will.topic) {
        return Err(Fault::malformed("NUL in a text"));
    }
    if will.payload.len() > MAX_WILL {
        return Err(Fault::new(Code::Quota, "last will too large"));
    }
    Ok(())
}
