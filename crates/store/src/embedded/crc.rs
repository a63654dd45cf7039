//! CRC-32C: tells a record that the medium damaged from a whole one.
//!
//! Never here: protection against somebody who changes records on purpose.

/// The polynomial of Castagnoli, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[k][b]` is what byte `b` adds when `k` more bytes follow it in a block of eight.
static TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where a slip is an error")]
#[expect(clippy::cast_possible_truncation, reason = "the numbers are below 256")]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// The CRC-32C of `key`, little-endian, and `bytes` after it.
pub(super) fn keyed_crc32c(key: u64, bytes: &[u8]) -> u32 {
    continued(step(u32::MAX, key.to_le_bytes()), bytes)
}

/// The CRC-32C of `bytes` after what made the register `crc`.
fn continued(mut crc: u32, bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<8>();
    for block in blocks {
        crc = step(crc, *block);
    }
    for byte in rest {
        crc = (crc >> 8) ^ look_up(0, crc ^ u32::from(*byte));
    }
    !crc
}

fn step(crc: u32, block: [u8; 8]) -> u32 {
    let (halves, _) = block.as_chunks::<4>();
    let [low, high] = halves else { return crc };
    let (low, high) = (u32::from_le_bytes(*low) ^ crc, u32::from_le_bytes(*high));
    look_up(7, low)
        ^ look_up(6, low >> 8)
        ^ look_up(5, low >> 16)
        ^ look_up(4, low >> 24)
        ^ look_up(3, high)
        ^ look_up(2, high >> 8)
        ^ look_up(1, high >> 16)
        ^ look_up(0, high >> 24)
}

/// What the lowest byte of `byte` adds. Callers pass a table below 8.
#[expect(clippy::indexing_slicing, reason = "both indices are within their arrays by construction")]
fn look_up(table: usize, byte: u32) -> u32 {
    TABLES[table][(byte & 0xff) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc32c(bytes: &[u8]) -> u32 {
        continued(u32::MAX, bytes)
    }

    #[test]
    fn a_key_counts_as_the_bytes_before() {
        assert_eq!(keyed_crc32c(u64::from_le_bytes(*b"12345678"), b"9"), crc32c(b"123456789"));
    }

    #[test]
    fn known_texts_have_their_known_sums() {
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}
