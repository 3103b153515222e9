//! Tags: words by which results are found again.

/// Reads `KEY=VALUE`. A key is a word, so that it can be a column of a table and a key of a document.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("write it as KEY=VALUE, as in `driver=580`".to_owned());
    };
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if key.is_empty() || !key.chars().all(is_good) {
        return Err(format!(
            "`{key}` is no key: letters, digits and `-_./` make one"
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_key_with_a_value() {
        let read = |text| tag(text).map(|(key, value)| format!("{key}: {value}"));
        assert_eq!(read("driver=580").as_deref(), Ok("driver: 580"));
        assert_eq!(read("a/b.c=x=y z").as_deref(), Ok("a/b.c: x=y z"));
        assert_eq!(read("empty=").as_deref(), Ok("empty: "));
        for bad in ["driver", "=x", "a b=c", "ä=b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
