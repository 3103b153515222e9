//! Command lines as a POSIX shell splits them, as far as that can be told without running one.

/// A word of a command line, after quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// What only a shell could fill in: `$MODEL`.
    pub(super) unfilled: Option<String>,
}

/// As far a `$` is looked at: the name of a variable is shorter.
const LONGEST: usize = 256;

/// Splits a text into commands, each a list of words. Nothing is returned where a quote has no end.
pub(super) fn commands(text: &str) -> Option<Vec<Vec<Word>>> {
    let mut reader = Reader::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => reader.add(c),
            },
            '\'' => {
                reader.begin();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => reader.add(c),
                    }
                }
            }
            '"' => {
                reader.begin();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            '\n' => {}
                            c @ ('"' | '\\' | '$' | '`') => reader.add(c),
                            c => {
                                reader.add('\\');
                                reader.add(c);
                            }
                        },
                        '$' => reader.dollar(&chars.clone().take(LONGEST).collect::<String>()),
                        c => reader.add(c),
                    }
                }
            }
            '#' if reader.word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            '$' => reader.dollar(&chars.clone().take(LONGEST).collect::<String>()),
            '\n' | ';' | '&' | '|' => reader.end_command(),
            c if c.is_whitespace() => reader.end_word(),
            c => reader.add(c),
        }
    }
    reader.end_command();
    Some(reader.commands)
}

#[derive(Default)]
struct Reader {
    commands: Vec<Vec<Word>>,
    command: Vec<Word>,
    word: Option<Word>,
}

impl Reader {
    fn begin(&mut self) -> &mut Word {
        self.word.get_or_insert_default()
    }

    fn add(&mut self, c: char) {
        self.begin().text.push(c);
    }

    /// Takes a `$`, before what follows it.
    fn dollar(&mut self, rest: &str) {
        let name: String = match rest.strip_prefix('{') {
            Some(rest) => format!("{{{}}}", rest.split('}').next().unwrap_or_default()),
            None => rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect(),
        };
        let word = self.begin();
        word.text.push('$');
        if !name.is_empty() || rest.starts_with('(') {
            word.unfilled.get_or_insert(format!("${name}"));
        }
    }

    fn end_word(&mut self) {
        self.command.extend(self.word.take());
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.command.is_empty() {
            self.commands.push(std::mem::take(&mut self.command));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let commands = commands(text).unwrap();
        let words = |command: Vec<Word>| command.into_iter().map(|it| it.text).collect();
        commands.into_iter().map(words).collect()
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(
            texts(
                "# one\nexport A=1; vllm serve 'a b' \\\n  --x='{\"y\": 1}' \"c\\\"d\"#e '' # end\necho f|g"
            ),
            [
                &["export", "A=1"][..],
                &["vllm", "serve", "a b", "--x={\"y\": 1}", "c\"d#e", ""],
                &["echo", "f"],
                &["g"],
            ]
        );
        assert_eq!(commands("vllm serve 'a"), None);
    }

    #[test]
    fn what_only_a_shell_fills_in_is_told() {
        let [command] = &commands("vllm serve $MODEL '$a' \"${B:-c}\" d$").unwrap()[..] else {
            panic!("it is one command");
        };
        let unfilled: Vec<_> = command.iter().map(|it| it.unfilled.as_deref()).collect();
        assert_eq!(
            unfilled,
            [None, None, Some("$MODEL"), None, Some("${B:-c}"), None]
        );
    }
}
