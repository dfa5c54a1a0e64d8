//! Whether a password is the one of a `caching_sha2_password` account.
//!
//! The server keeps `$A$` + rounds/1000 as three hex digits + `$` + 20 bytes of salt + 43
//! characters of digest (MySQL sources, `sql/auth/sha2_password.cc`). The digest is SHA-crypt
//! with SHA-256 (Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512"), with a salt of 20
//! bytes instead of 16. Computing it here tells a changed password without a login, which
//! over the unix socket `REQUIRE SSL` would refuse whatever the password is.

use sha2::{Digest as _, Sha256};

const SALT: usize = 20;
const PREFIX: &[u8] = b"$A$";
/// Where the salt begins: `$A$005$`.
const HEADER: usize = 7;
const DIGEST: usize = 43;
/// The most rounds that the server can be set to (`caching_sha2_password_digest_rounds`).
const MAX_ROUNDS: u32 = 4_095_000;

/// Whether `password` is the one that `stored` was made from; `None` when `stored` has
/// another form than the one known here.
pub(in crate::mysql) fn verify(stored: &[u8], password: &str) -> Option<bool> {
    if stored.len() != HEADER + SALT + DIGEST || !stored.starts_with(PREFIX) || stored[6] != b'$' {
        return None;
    }
    let thousands = u32::from_str_radix(std::str::from_utf8(&stored[3..6]).ok()?, 16).ok()?;
    let rounds = thousands * 1000;
    if rounds == 0 || rounds > MAX_ROUNDS {
        return None;
    }
    let (salt, digest) = stored[HEADER..].split_at(SALT);
    Some(encode(&sha256_crypt(password.as_bytes(), salt, rounds)).as_bytes() == digest)
}

/// Steps 1 to 21 of the specification.
fn sha256_crypt(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let length = password.len();
    let alternate: [u8; 32] = Sha256::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into();
    let mut first = Sha256::new().chain_update(password).chain_update(salt);
    first.update(repeat(&alternate, length));
    let mut bits = length;
    while bits > 0 {
        first.update(if bits & 1 == 1 { &alternate[..] } else { password });
        bits >>= 1;
    }
    let mut digest: [u8; 32] = first.finalize().into();

    let mut of_password = Sha256::new();
    for _ in 0..length {
        of_password.update(password);
    }
    let p = repeat(&of_password.finalize().into(), length);
    let mut of_salt = Sha256::new();
    for _ in 0..16 + usize::from(digest[0]) {
        of_salt.update(salt);
    }
    let s = repeat(&of_salt.finalize().into(), salt.len());

    for round in 0..rounds {
        let mut hash = Sha256::new();
        let odd = round % 2 == 1;
        hash.update(if odd { &p[..] } else { &digest[..] });
        if round % 3 != 0 {
            hash.update(&s);
        }
        if round % 7 != 0 {
            hash.update(&p);
        }
        hash.update(if odd { &digest[..] } else { &p[..] });
        digest = hash.finalize().into();
    }
    digest
}

/// `length` bytes of the digest said over and over.
fn repeat(digest: &[u8; 32], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

/// Step 22: the digest's bytes in the specification's order, six bits a character.
fn encode(digest: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(DIGEST);
    let mut push = |bits: u32, characters: u32| {
        for at in 0..characters {
            let index = (bits >> (6 * at)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    };
    let (mut a, mut b, mut c) = (0, 10, 20);
    for _ in 0..10 {
        let three = [digest[a], digest[b], digest[c]].map(u32::from);
        push(three[0] << 16 | three[1] << 8 | three[2], 4);
        (a, b, c) = (c + 1, a + 1, b + 1);
    }
    push(u32::from(digest[31]) << 8 | u32::from(digest[30]), 3);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_c_library() {
        // Judge: crypt(3) of glibc, whose salts have at most 16 bytes.
        let crypt = |password: &str, salt: &str, rounds| {
            encode(&sha256_crypt(password.as_bytes(), salt.as_bytes(), rounds))
        };
        assert_eq!(
            crypt("Hello world!", "saltstringsaltst", 10000),
            "3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"
        );
        assert_eq!(
            crypt("Hello world!", "saltstring", 5000),
            "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
        );
    }

    #[test]
    fn knows_a_password_that_a_server_stored() {
        // Made by MySQL 9.7.4: CREATE USER u IDENTIFIED BY 'pw'.
        let stored = hex(
            "24412430304124696C734F25014E2B264D254A657272772E2F475B527A6A324D6A56654A6A4B77454F\
             7073666E6B4B6B62494C6C516276426272356D7164704F4450664B3133",
        );
        assert_eq!(verify(&stored, "pw"), Some(true));
        assert_eq!(verify(&stored, "pW"), Some(false));
        assert_eq!(verify(&stored, ""), Some(false));
    }

    #[test]
    fn another_form_is_unknown_and_not_wrong() {
        assert_eq!(verify(b"", "pw"), None);
        assert_eq!(verify(&[b'$'; 70], "pw"), None);
        let mut stored = b"$A$zzz$".to_vec();
        stored.extend([b'x'; 63]);
        assert_eq!(verify(&stored, "pw"), None);
    }

    fn hex(text: &str) -> Vec<u8> {
        let bytes = text.as_bytes().chunks(2);
        bytes
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}
