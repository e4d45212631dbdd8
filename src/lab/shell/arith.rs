//! `$((…))`: integers, the usual operators with their usual precedence.

/// Binary operators by precedence, weakest first; longer ones stand before their own beginnings.
const LEVELS: [&[&str]; 8] = [&["||"], &["&&"], &["|"], &["^"], &["&"], &["==", "!="], &["<=", ">=", "<", ">"], &["+", "-"]];

/// The value of an expression whose `$` are expanded already. `value` gives a variable named without `$`.
///
/// # Errors
/// What dash says about it, without the expression that it quotes behind.
pub fn compute(text: &str, value: &dyn Fn(&str) -> String) -> Result<i64, String> {
    if text.trim().is_empty() {
        return Ok(0);
    }
    let mut reader = Reader { text: text.chars().collect(), at: 0, depth: 0, value };
    let result = reader.level(0)?;
    reader.skip();
    if reader.at < reader.text.len() { Err("arithmetic expression: expecting EOF".to_owned()) } else { Ok(result) }
}

struct Reader<'a> {
    text: Vec<char>,
    at: usize,
    depth: usize,
    value: &'a dyn Fn(&str) -> String,
}

impl Reader<'_> {
    fn skip(&mut self) {
        while self.text.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    fn operator(&mut self, among: &[&'static str]) -> Option<&'static str> {
        self.skip();
        let ahead: String = self.text[self.at..].iter().take(2).collect();
        let found = among.iter().find(|op| ahead.starts_with(**op))?;
        // `|` is not the beginning of `||`, nor `&` of `&&`.
        if found.len() == 1 && "|&".contains(*found) && ahead.len() == 2 && ahead.ends_with(found) {
            return None;
        }
        self.at += found.len();
        Some(found)
    }

    fn level(&mut self, level: usize) -> Result<i64, String> {
        let Some(among) = LEVELS.get(level) else { return self.product() };
        let mut left = self.level(level + 1)?;
        while let Some(op) = self.operator(among) {
            let right = self.level(level + 1)?;
            left = match op {
                "||" => i64::from(left != 0 || right != 0),
                "&&" => i64::from(left != 0 && right != 0),
                "|" => left | right,
                "^" => left ^ right,
                "&" => left & right,
                "==" => i64::from(left == right),
                "!=" => i64::from(left != right),
                "<=" => i64::from(left <= right),
                ">=" => i64::from(left >= right),
                "<" => i64::from(left < right),
                ">" => i64::from(left > right),
                "+" => left.wrapping_add(right),
                _ => left.wrapping_sub(right),
            };
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<i64, String> {
        let mut left = self.unary()?;
        while let Some(op) = self.operator(&["*", "/", "%"]) {
            let right = self.unary()?;
            left = match op {
                "*" => left.wrapping_mul(right),
                _ if right == 0 => return Err("arithmetic expression: division by zero".to_owned()),
                "/" => left.wrapping_div(right),
                _ => left.wrapping_rem(right),
            };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > 200 {
            return Err("arithmetic expression: too deep".to_owned());
        }
        let result = match self.operator(&["-", "+", "!", "("]) {
            Some("-") => self.unary()?.wrapping_neg(),
            Some("+") => self.unary()?,
            Some("!") => i64::from(self.unary()? == 0),
            Some(_) => {
                let inner = self.level(0)?;
                self.operator(&[")"]).ok_or("arithmetic expression: expecting ')'")?;
                inner
            }
            None => self.atom()?,
        };
        self.depth -= 1;
        Ok(result)
    }

    fn atom(&mut self) -> Result<i64, String> {
        self.skip();
        let word: String = self.text[self.at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
        self.at += word.len();
        let text = if word.starts_with(|c: char| c.is_ascii_digit()) {
            word
        } else if word.is_empty() {
            return Err("arithmetic expression: expecting primary".to_owned());
        } else {
            (self.value)(&word)
        };
        if text.is_empty() {
            return Ok(0);
        }
        let parsed = match text.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16),
            None if text.len() > 1 && text.starts_with('0') => i64::from_str_radix(&text, 8),
            None => text.parse(),
        };
        parsed.map_err(|_| format!("Illegal number: {text}"))
    }
}
