//! The few messages of multicast DNS (RFC 6762) and service discovery (RFC 6763) by which devices of
//! a site find each other while the control plane is away: one question for `_holdfast._tcp.local`,
//! and its answer with a device's name and port. Everything else is ignored.
//!
//! The question goes out from a port of its own, so that answers come back to it alone (RFC 6762,
//! section 6.7): nobody has to listen but who answers.
//!
//! See decision 0179.

use holdfast_base::ids::Name;

/// Labels of the service.
const SERVICE: [&[u8]; 3] = [b"_holdfast", b"_tcp", b"local"];
/// Types of records: pointer, text and location of a service.
const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;
/// Class of the Internet, and the same with the bit by which a record replaces all former ones.
const IN: u16 = 1;
const IN_FLUSH: u16 = 0x8001;
/// Seconds for which an answer may be kept: 10 minutes.
const TTL: u32 = 600;
/// Most records or questions of a message that are looked at.
const MOST: u16 = 32;
/// Longest label of a name in bytes, by RFC 1035.
const MAX_LABEL: usize = 63;

/// Device that answered, with the port that it serves neighbours at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Name of the device within its tenant, which only its certificate proves.
    pub device: Name,
    /// TCP port.
    pub port: u16,
}

/// Message that asks who is there.
pub fn question(id: u16) -> Vec<u8> {
    let mut message = header(id, 0, 1, 0);
    put_question(&mut message);
    message
}

/// Answer to a message, if it asks for this service. None: it does not, or makes no sense.
pub fn answer(message: &[u8], device: &Name, port: u16) -> Option<Vec<u8>> {
    let mut read = Reader { message, at: 0 };
    let (id, flags, questions, _) = read.header()?;
    // Responses and operations other than a query are no question.
    if flags & 0xf800 != 0 || device.as_str().len() > MAX_LABEL {
        return None;
    }
    let mut asked = false;
    for _ in 0..questions.min(MOST) {
        let labels = read.name()?;
        let (sort, class) = (read.u16()?, read.u16()?);
        let is_service = labels.iter().map(Vec::as_slice).eq(SERVICE);
        asked |= is_service && (sort == PTR || sort == 255) && class & 0x7fff == IN;
    }
    if !asked {
        return None;
    }
    let mut reply = header(id, 0x8400, 1, 3);
    put_question(&mut reply);
    let mut instance = Vec::new();
    put_label(&mut instance, device.as_str().as_bytes());
    put_name(&mut instance);
    let mut host = Vec::new();
    put_label(&mut host, device.as_str().as_bytes());
    put_label(&mut host, b"local");
    host.push(0);
    let mut service = Vec::new();
    put_name(&mut service);
    put_record(&mut reply, &service, (PTR, IN), &instance);
    let mut location = vec![0; 4];
    location.extend(port.to_be_bytes());
    location.extend(&host);
    put_record(&mut reply, &instance, (SRV, IN_FLUSH), &location);
    put_record(&mut reply, &instance, (TXT, IN_FLUSH), &[0]);
    Some(reply)
}

/// Reads the answers in a message. Damaged ones end it.
pub fn read(message: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    let mut read = Reader { message, at: 0 };
    let _ended_early = read.answers(&mut found);
    found
}

fn header(id: u16, flags: u16, questions: u16, answers: u16) -> Vec<u8> {
    let words = [id, flags, questions, answers, 0, 0];
    words.into_iter().flat_map(u16::to_be_bytes).collect()
}

fn put_label(to: &mut Vec<u8>, label: &[u8]) {
    to.push(u8::try_from(label.len()).unwrap_or(0));
    to.extend(label);
}

fn put_name(to: &mut Vec<u8>) {
    SERVICE.iter().for_each(|label| put_label(to, label));
    to.push(0);
}

fn put_question(to: &mut Vec<u8>) {
    put_name(to);
    to.extend(PTR.to_be_bytes());
    to.extend(IN.to_be_bytes());
}

fn put_record(to: &mut Vec<u8>, owner: &[u8], (sort, class): (u16, u16), data: &[u8]) {
    to.extend(owner);
    to.extend(sort.to_be_bytes());
    to.extend(class.to_be_bytes());
    to.extend(TTL.to_be_bytes());
    to.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    to.extend(data);
}

/// Reader of a message; every read is within its bounds.
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Reads the header: id, flags, and the numbers of questions and answers.
    fn header(&mut self) -> Option<(u16, u16, u16, u16)> {
        let all = (self.u16()?, self.u16()?, self.u16()?, self.u16()?);
        self.take(4)?;
        Some(all)
    }

    /// Reads a name. Of a compressed one the part behind the pointer is read too, once: pointers to
    /// pointers are followed 8 times at most.
    fn name(&mut self) -> Option<Vec<Vec<u8>>> {
        let (mut labels, mut end, mut jumps) = (Vec::new(), None, 0);
        loop {
            let length = usize::from(*self.take(1)?.first()?);
            match length {
                0 => break,
                1..=MAX_LABEL => labels.push(self.take(length)?.to_vec()),
                0xc0.. => {
                    let low = usize::from(*self.take(1)?.first()?);
                    end = end.or(Some(self.at));
                    self.at = (length & 0x3f) << 8 | low;
                    jumps += 1;
                }
                _ => return None,
            }
            if jumps > 8 || labels.len() > 16 {
                return None;
            }
        }
        self.at = end.unwrap_or(self.at);
        Some(labels)
    }

    fn answers(&mut self, found: &mut Vec<Answer>) -> Option<()> {
        let (_, flags, questions, answers) = self.header()?;
        if flags & 0x8000 == 0 {
            return None;
        }
        for _ in 0..questions.min(MOST) {
            self.name()?;
            self.take(4)?;
        }
        for _ in 0..answers.min(MOST) {
            let owner = self.name()?;
            let sort = self.u16()?;
            self.take(6)?;
            let length = usize::from(self.u16()?);
            let data = self.take(length)?;
            let (first, rest) = owner.split_first()?;
            if sort != SRV || !rest.iter().map(Vec::as_slice).eq(SERVICE) {
                continue;
            }
            let device = str::from_utf8(first).ok().and_then(|text| text.parse().ok());
            let port = data.get(4..6).and_then(|port| port.try_into().ok());
            if let (Some(device), Some(port)) = (device, port.map(u16::from_be_bytes)) {
                found.push(Answer { device, port });
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> Name {
        "gw-1".parse().unwrap()
    }

    #[test]
    fn a_question_is_answered_with_name_and_port() {
        let asked = question(7);
        let reply = answer(&asked, &name(), 8_886).unwrap();
        assert_eq!(read(&reply), [Answer { device: name(), port: 8_886 }]);
        assert_eq!(reply[..2], [0, 7], "the id of the question comes back");
        assert_eq!(answer(&reply, &name(), 1), None, "an answer is no question");
        assert!(read(&asked).is_empty());
    }

    #[test]
    fn questions_for_other_services_are_not_answered() {
        let mut other = question(1);
        let at = other.windows(4).position(|it| it == b"hold").unwrap();
        other[at] = b'x';
        assert_eq!(answer(&other, &name(), 1), None);
        let mut address = question(1);
        let end = address.len();
        address[end - 3] = 1;
        assert_eq!(answer(&address, &name(), 1), None, "of the type A");
        assert_eq!(answer(&[], &name(), 1), None);
    }

    #[test]
    fn compressed_names_are_read() {
        // As other responders write it: the owner of SRV points to the question's name.
        let mut reply = header(0, 0x8400, 1, 1);
        put_question(&mut reply);
        put_label(&mut reply, b"gw-2");
        reply.extend([0xc0, 12]);
        reply.extend(SRV.to_be_bytes());
        reply.extend([0x80, 1, 0, 0, 0, 9, 0, 8, 0, 0, 0, 0, 0x22, 0xb6, 0xc0, 12]);
        assert_eq!(read(&reply), [Answer { device: "gw-2".parse().unwrap(), port: 0x22b6 }]);
        // A pointer to itself ends.
        let mut endless = header(0, 0x8400, 1, 0);
        endless.extend([0xc0, 12, 0, 12, 0, 1]);
        assert!(read(&endless).is_empty());
    }

    proptest! {
        #[test]
        fn no_message_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..120), cut in 0usize..200, with: u8) {
            read(&bytes);
            answer(&bytes, &name(), 1);
            for mut message in [question(1), answer(&question(1), &name(), 9).unwrap()] {
                let at = cut % message.len();
                message[at] = with;
                read(&message);
                answer(&message, &name(), 1);
            }
        }
    }
}
