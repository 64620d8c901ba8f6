//! Checksum by which both sides detect that a disk has changed what they stored.
//!
//! See decision 0043.

/// Returns the CRC-32 (IEEE) of the parts, taken as one sequence of bytes.
pub fn crc(parts: &[&[u8]]) -> u32 {
    let mut sum = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        let at = usize::from(sum.to_le_bytes()[0] ^ byte);
        sum = TABLE.get(at).copied().unwrap_or(0) ^ (sum >> 8);
    }
    !sum
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0_usize;
    let mut value = 0_u32;
    while at < 256 {
        let mut sum = value;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 };
            bit += 1;
        }
        #[allow(clippy::indexing_slicing, reason = "a constant's bounds are checked as it is made")]
        {
            table[at] = sum;
        }
        at += 1;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_crc_32() {
        assert_eq!(crc(&[b"1234", b"56789"]), 0xCBF4_3926, "its check value");
        assert_eq!(crc(&[]), 0);
    }
}
