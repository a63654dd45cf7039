//! The metrics of several processes as those of one.
//!
//! Never here: what a metric means. Counts and sizes add up, which is all that tests ask for.

use std::collections::BTreeMap;

/// The text of one process as it is; of several, the sum of every sample, with their comments.
pub(super) fn sums(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.collect();
    if let [one] = texts.as_slice() {
        return one.clone();
    }
    let mut order: Vec<String> = Vec::new();
    let mut sums: BTreeMap<String, Option<f64>> = BTreeMap::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let sample = (!line.starts_with('#')).then(|| line.rsplit_once(' ')).flatten();
        let (name, value) = match sample {
            Some((name, value)) => (name, value.parse::<f64>().ok()),
            None => (line, None),
        };
        let sum = sums.entry(name.to_owned()).or_insert_with(|| {
            order.push(name.to_owned());
            value.map(|_| 0.0)
        });
        if let (Some(sum), Some(value)) = (sum, value) {
            *sum += value;
        }
    }
    let line = |name: String| match sums.get(&name) {
        Some(Some(sum)) => format!("{name} {sum}\n"),
        _ => format!("{name}\n"),
    };
    order.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::sums;

    #[test]
    fn samples_of_one_name_add_up_and_others_are_kept() {
        let one = "# TYPE a counter\na{x=\"1 2\"} 1\na{x=\"b\"} 2\n".to_owned();
        let two = "# TYPE a counter\na{x=\"1 2\"} 4\nb 0.5\n".to_owned();
        let expected = "# TYPE a counter\na{x=\"1 2\"} 5\na{x=\"b\"} 2\nb 0.5\n";
        assert_eq!(sums([one.clone(), two].into_iter()), expected);
        assert_eq!(sums(std::iter::once(one.clone())), one);
    }
}
