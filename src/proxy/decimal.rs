//! Numbers in digits, for what every request has in its head: without an allocation, and without the machinery
//! of formats.

/// The digits of the largest number.
pub(super) const MOST: usize = 20;

/// The digits of a number, in this room, with zeros before it where it has fewer than so many.
pub(super) fn decimal(mut number: u64, digits: usize, room: &mut [u8; MOST]) -> &[u8] {
    let mut from = MOST;
    while number > 0 || from + digits > MOST {
        from -= 1;
        room[from] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    &room[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_its_digits_and_no_fewer_than_are_wanted() {
        for (number, digits, text) in [
            (0, 1, "0"),
            (7, 3, "007"),
            (10, 1, "10"),
            (1234, 3, "1234"),
            (u64::MAX, 1, "18446744073709551615"),
        ] {
            let mut room = [b'x'; MOST];
            assert_eq!(decimal(number, digits, &mut room), text.as_bytes());
        }
    }
}
