//! What a connection tells about itself to those who judge whether a device is alive.

/// Silence and keep-alive of one connection. Readers ask for it, so that for each packet the
/// gateway only stores to an atomic.
pub trait Line: std::fmt::Debug + Send + Sync + 'static {
    /// Returns the seconds since the last packet of any kind.
    fn silent(&self) -> u64;
    /// Returns the seconds within which the device promised its next packet (MQTT's keep-alive); 0:
    /// no promise.
    fn keep_alive(&self) -> u16;
    /// Returns whether the topic of the newest call is replaced by its alias (MQTT 5), because an
    /// earlier call of the connection named both.
    fn calls_by_alias(&self) -> bool {
        false
    }
}
