//! Frames as mdp.md §21 writes them, for tests.
//!
//! Frames stand between `|`. `(empty)` is an empty frame, text in quotes its ASCII content, `T` the
//! token of the examples (`T2` the one after it), `W`, `C`, `V` the routing ids 67, 68 and 69 of
//! the examples, anything else hexadecimal bytes whose quoted translation is skipped.

/// The random half of the token in the examples.
pub(crate) const INCARNATION: [u8; 8] = [0x9F, 0x3C, 0x0A, 0x55, 0x77, 0xE1, 0xD2, 0x44];

pub(crate) fn frames(text: &str) -> Vec<Vec<u8>> {
    text.split('|').map(|frame| parse(frame.trim())).collect()
}

fn parse(frame: &str) -> Vec<u8> {
    let anonymous = |last: u8| vec![0x00, 0x6B, 0x8B, 0x45, last];
    match frame {
        "(empty)" => Vec::new(),
        "W" => anonymous(0x67),
        "C" => anonymous(0x68),
        "V" => anonymous(0x69),
        "T" => token(1),
        quoted if quoted.starts_with('"') => quoted.trim_matches('"').as_bytes().to_vec(),
        hex => {
            if let Some(number) = hex.strip_prefix('T') {
                return token(number.parse().unwrap());
            }
            let hex = hex.split('"').next().unwrap();
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
        }
    }
}

fn token(number: u64) -> Vec<u8> {
    [INCARNATION, number.to_be_bytes()].concat()
}
