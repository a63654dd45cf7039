//! `application/x-www-form-urlencoded` and query strings (SimplePush Appendix B).

use super::{EndpointError, Fields};

/// Adds the fields of a form to those that are there already; the first of a name counts.
pub(super) fn read(text: &[u8], fields: &mut Fields) -> Result<(), EndpointError> {
    for pair in text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut halves = pair.splitn(2, |&byte| byte == b'=');
        let name = decode(halves.next().unwrap_or_default())?;
        let value = decode(halves.next().unwrap_or_default())?;
        fields.offer(&name, value)?;
    }
    Ok(())
}

/// Undoes percent-encoding and `+` for a space.
fn decode(text: &[u8]) -> Result<Vec<u8>, EndpointError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = (bytes.next().and_then(digit), bytes.next().and_then(digit));
                let (Some(high), Some(low)) = digits else { return Err(EndpointError::Form) };
                high << 4 | low
            }
            _ => byte,
        });
    }
    Ok(out)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Result<Option<String>, EndpointError> {
        let mut fields = Fields::default();
        read(text.as_bytes(), &mut fields)?;
        Ok(fields.version)
    }

    #[test]
    fn fields_are_decoded() {
        // Rule: simplepush Appendix B — split at `&`, then at the first `=`; the first value counts
        assert_eq!(version("x=1&version=5&version=6"), Ok(Some("5".into())));
        assert_eq!(version("version="), Ok(Some(String::new())));
        assert_eq!(version("version"), Ok(Some(String::new())));
        assert_eq!(version("version=1=2"), Ok(Some("1=2".into())));
        assert_eq!(version("&&"), Ok(None));
        // Rule: simplepush R-HTTP-1 — percent-decoding and `+` for a space apply
        assert_eq!(version("%76ersion=%31%32"), Ok(Some("12".into())));
        assert_eq!(version("version=+5"), Ok(Some(" 5".into())));
        for bad in ["version=%", "version=%4", "version=%zz", "%=1", "data=%ff&version=1"] {
            assert_eq!(version(bad), Err(EndpointError::Form), "{bad}");
        }
    }
}
