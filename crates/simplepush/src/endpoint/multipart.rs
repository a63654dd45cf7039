//! `multipart/form-data`, as far as two short fields need it (SimplePush R-HTTP-1).

use super::{EndpointError, Fields};

/// The most bytes of a boundary (RFC 2046 §5.1.1).
const BOUNDARY_MAX: usize = 70;

/// The boundary that a content type names.
pub(super) fn boundary(parameters: &str) -> Option<&str> {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (1..=BOUNDARY_MAX).contains(&value.len()).then_some(value)
}

/// Adds the fields of a form to those that are there already; the first of a name counts.
pub(super) fn read(body: &[u8], boundary: &str, fields: &mut Fields) -> Result<(), EndpointError> {
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter may stand at the very beginning, without its line break.
    let mut text = b"\r\n".to_vec();
    text.extend_from_slice(body);
    let mut rest = after(&text, delimiter.as_bytes()).ok_or(EndpointError::Form)?;
    while !rest.starts_with(b"--") {
        let end = find(rest, delimiter.as_bytes()).ok_or(EndpointError::Form)?;
        let (part, following) = rest.split_at(end);
        read_part(part, fields)?;
        rest = after(following, delimiter.as_bytes()).ok_or(EndpointError::Form)?;
    }
    Ok(())
}

fn read_part(part: &[u8], fields: &mut Fields) -> Result<(), EndpointError> {
    let split = find(part, b"\r\n\r\n").ok_or(EndpointError::Form)?;
    let (head, value) = part.split_at(split);
    let head = std::str::from_utf8(head).map_err(|_| EndpointError::Form)?;
    let value = value.get(4..).unwrap_or_default();
    match head.lines().find_map(name) {
        Some(name) => fields.offer(name.as_bytes(), value.to_vec()),
        None => Err(EndpointError::Form),
    }
}

/// The name of a field, if the line is its content disposition.
fn name(line: &str) -> Option<&str> {
    let (header, value) = line.split_once(':')?;
    if !header.trim().eq_ignore_ascii_case("content-disposition") {
        return None;
    }
    value.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        name.trim().eq_ignore_ascii_case("name").then_some(value)
    })
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn after<'a>(text: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    text.get(find(text, what)? + what.len()..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        // Rule: simplepush R-HTTP-1 — multipart/form-data with a boundary is parsed
        let body = b"--XX\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n1\r\n--XX\r\ncontent-disposition: form-data; name=version\r\nContent-Type: text/plain\r\n\r\n123\r\n--XX--\r\n";
        let mut fields = Fields::default();
        read(body, "XX", &mut fields).unwrap();
        assert_eq!(fields.version.as_deref(), Some("123"));
        for cut in 1..body.len() - 4 {
            let _whatever = read(&body[..cut], "XX", &mut Fields::default());
        }
        assert_eq!(read(b"", "XX", &mut Fields::default()), Err(EndpointError::Form));
    }

    #[test]
    fn a_boundary_may_be_quoted() {
        assert_eq!(boundary(" charset=x; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("Boundary=ab"), Some("ab"));
        assert_eq!(boundary("boundary="), None);
        assert_eq!(boundary(""), None);
    }
}
