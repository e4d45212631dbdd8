//! What a program needs to start: the loader that its ELF header names, if it names one.

/// `PT_INTERP`: the program header that names the loader.
const INTERPRETER: u32 = 3;

/// How much of a program is enough to read here: linkers put the headers and the loader's name first.
pub(super) const BEGINNING: usize = 64 << 10;

/// The loader of the C library that this program starts through, `/lib64/ld-linux-x86-64.so.2`: only where that library is, it starts at all. `None` for
/// a program that needs none, and for whatever is no ELF file, a script say.
pub(super) fn loader(program: &[u8]) -> Option<String> {
    let wide = match program.get(..6)? {
        [0x7f, b'E', b'L', b'F', class @ (1 | 2), 1 | 2] => *class == 2,
        _ => return None,
    };
    let little = program[5] == 1;
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = program.get(at..at.checked_add(bytes)?)?;
        let value = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        usize::try_from(if little { field.iter().rev().fold(0, value) } else { field.iter().fold(0, value) }).ok()
    };
    // Where the table of program headers is, how large each is, how many there are; then where each keeps offset and size of its part.
    let (table, size, count) =
        if wide { (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?) } else { (number(0x1c, 4)?, number(0x2a, 2)?, number(0x2c, 2)?) };
    let (offset, length, bytes) = if wide { (0x08, 0x20, 8) } else { (0x04, 0x10, 4) };
    for index in 0..count {
        let header = table.checked_add(index.checked_mul(size)?)?;
        if number(header, 4)? != INTERPRETER as usize {
            continue;
        }
        let from = number(header.checked_add(offset)?, bytes)?;
        let name = program.get(from..from.checked_add(number(header.checked_add(length)?, bytes)?)?);
        let text = String::from_utf8_lossy(name.unwrap_or_default());
        let text = text.trim_end_matches('\0');
        return Some(if text.is_empty() { "a loader".to_owned() } else { text.escape_debug().to_string() });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit program with one program header of this kind, and behind it the loader's name.
    fn program(kind: u32) -> Vec<u8> {
        let name = b"/lib/ld-test.so.1\0";
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0x20, &64_u64.to_le_bytes());
        put(0x36, &56_u16.to_le_bytes());
        put(0x38, &1_u16.to_le_bytes());
        put(64, &kind.to_le_bytes());
        put(64 + 0x08, &120_u64.to_le_bytes());
        put(64 + 0x20, &18_u64.to_le_bytes());
        bytes.extend_from_slice(name);
        bytes
    }

    #[test]
    fn a_program_that_needs_a_loader_is_told_from_one_that_needs_none() {
        assert_eq!(loader(&program(INTERPRETER)).as_deref(), Some("/lib/ld-test.so.1"));
        assert_eq!(loader(&program(1)), None);
        assert_eq!((loader(b"#!/bin/sh\n"), loader(b""), loader(b"\x7fELF")), (None, None, None));
    }

    #[test]
    fn the_programs_of_this_machine_are_read() {
        #[expect(clippy::disallowed_methods, reason = "the test's own program")]
        let own = std::env::current_exe().and_then(std::fs::read).unwrap();
        // Whichever way the tests were built, the compiler knows it too.
        assert_eq!(loader(&own).is_none(), cfg!(target_feature = "crt-static"), "{:?}", loader(&own));
    }

    #[test]
    fn programs_are_read_or_refused_however_spoiled() {
        crate::walks::feed(&[program(INTERPRETER)], |bytes| loader(bytes).map(drop).ok_or_else(|| "needs no loader".to_owned()));
    }
}
