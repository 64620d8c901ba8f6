//! Tests of the whole format, with files of the program `age` (1.1.1).

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

const IDENTITY: &str = "AGE-SECRET-KEY-16WVSRYTXAXZ437Y0RPUQJCMX0SESZLLXN49J7UQ7NH2SJZYHYC4SY0G7RW";
const RECIPIENT: &str = "age1l072qs7m7p0v4xdyxmzwcxfjg6vjptzzzca5d9zmf6rv6yg29yjs3hs6c4";
const OF_AGE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBxR0x6VnhsYktoaGlWMEg5NlV0Ym1qVWgxYnVCditVRFRVdDZvSmorWGtZCklHOWJxWHVpTExWK3lEcGFySFdNT2MvR3Vjam9BQmluQ0k3ZVUwbzZQWEUKLS0tIENVTlFoM2QrQmpCOW9UdG1rRmdFeDhjN3VGb0s5d0tmelE2cVJpOEx6REUKsh/WF7lUA1AHieFqUJJhU6zLnoFEqHTssCc0jhhLw1viuBpD/NalY97XpJ6DDSFMpvRsnP4=";

fn encrypt(to: &To, content: &[u8]) -> Vec<u8> {
    let mut writer = Encrypting::begin(to, Vec::new()).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

fn decrypt(file: &[u8], with: &With) -> Result<Vec<u8>, AgeError> {
    let mut from = file;
    let head = Head::read(&mut from)?;
    let key = head.file_key(with)?;
    let mut content = Vec::new();
    Decrypting::begin(&head, &key, from)?.read_to_end(&mut content)?;
    Ok(content)
}

fn identity() -> With {
    With::Identities(identities(&format!("# made by age-keygen\n\n{IDENTITY}\n")).unwrap())
}

fn recipient() -> To {
    To::Recipients(vec![RECIPIENT.parse().unwrap()])
}

#[test]
fn a_file_of_age_is_read() {
    let file = STANDARD.decode(OF_AGE).unwrap();
    assert_eq!(decrypt(&file, &identity()).unwrap(), b"written by age 1.1.1\n");
    let With::Identities(all) = identity() else { panic!() };
    assert_eq!(
        (all[0].recipient().to_string(), all[0].text()),
        (RECIPIENT.into(), IDENTITY.into())
    );
}

#[test]
fn files_of_every_length_come_back() {
    for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let content: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let file = encrypt(&recipient(), &content);
        assert_eq!(decrypt(&file, &identity()).unwrap(), content, "{length}");
    }
    let two =
        To::Recipients(vec![Identity::make().unwrap().recipient(), RECIPIENT.parse().unwrap()]);
    assert_eq!(decrypt(&encrypt(&two, b"x"), &identity()).unwrap(), b"x");
}

#[test]
fn no_cut_and_no_flipped_bit_passes() {
    let content = vec![7; 65_536 + 40];
    let file = encrypt(&recipient(), &content);
    let ends = [0, 1, 21, 22, 100, 180, 200, 216, 65_700, 65_752, 65_753, file.len() - 1];
    for at in ends.into_iter().chain(file.len() - 80..file.len()) {
        assert!(decrypt(&file[..at], &identity()).is_err(), "cut at {at}");
    }
    // Cut at the end of a piece: the last one is marked.
    let whole = encrypt(&recipient(), &vec![7; 131_072]);
    assert!(decrypt(&whole[..whole.len() - 65_552], &identity()).is_err());
    for at in (0..260).chain(65_700..file.len()) {
        let mut bytes = file.clone();
        bytes[at] ^= 1;
        assert!(decrypt(&bytes, &identity()).is_err(), "byte {at}");
    }
    assert!(decrypt(&[&file[..], b"x"].concat(), &identity()).is_err(), "something behind it");
}

#[test]
fn a_passphrase_opens_and_another_one_is_said() {
    let to = To::Passphrase("six words of a dice roll".into());
    let file = encrypt(&to, b"content");
    let with = |text: &str| With::Passphrase(text.into());
    assert_eq!(decrypt(&file, &with("six words of a dice roll")).unwrap(), b"content");
    assert!(matches!(decrypt(&file, &with("wrong")), Err(AgeError::WrongPassphrase)));
    assert!(matches!(decrypt(&file, &identity()), Err(AgeError::NeedsPassphrase)));
    let for_recipient = encrypt(&recipient(), b"content");
    assert!(matches!(decrypt(&for_recipient, &with("x")), Err(AgeError::NeedsIdentity)));
    let other = With::Identities(vec![Identity::make().unwrap()]);
    assert!(matches!(decrypt(&for_recipient, &other), Err(AgeError::WrongIdentity)));
    // Somebody else's file asks for more memory than there is.
    let text = String::from_utf8_lossy(&file[..90]).replace(" 16\n", " 30\n");
    let greedy = [text.as_bytes(), &file[90..]].concat();
    assert!(matches!(decrypt(&greedy, &with("x")), Err(AgeError::TooMuchWork(30))));
}

#[test]
fn a_files_key_opens_it_and_no_other() {
    let (one, two) = (encrypt(&recipient(), b"one"), encrypt(&recipient(), b"two"));
    let key = Head::read(&mut &one[..]).unwrap().file_key(&identity()).unwrap();
    let mut from = &one[..];
    let head = Head::read(&mut from).unwrap();
    let mut content = Vec::new();
    let key = FileKey::new(*key.bytes());
    Decrypting::begin(&head, &key, from).unwrap().read_to_end(&mut content).unwrap();
    assert_eq!(content, b"one");
    let head = Head::read(&mut &two[..]).unwrap();
    assert!(matches!(head.check(&key), Err(AgeError::WrongKey)));
}

#[test]
fn hostile_heads_end_in_an_error_and_are_bounded() {
    let long = format!("{FIRST_LINE}\n{}", "-> a b\n\n".repeat(100_000));
    for bytes in [
        &b""[..],
        b"\n",
        b"age-encryption.org/v2\n",
        b"age-encryption.org/v1\n--- short\n",
        b"age-encryption.org/v1\n-> X25519\n\n",
        b"age-encryption.org/v1\n-> scrypt AAAA 99\n\n",
        long.as_bytes(),
        &[b'a'; 100_000],
    ] {
        assert!(matches!(Head::read(&mut &bytes[..]), Err(AgeError::NoAge)));
    }
    assert!(identities("nothing\n").is_err());
    assert!("age1nothing".parse::<Recipient>().is_err());
}
