//! Text that becomes HTML. Markup is what stands in this program's source; everything else is
//! escaped, whatever it holds: the types leave no third way.

/// HTML under way.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// Markup: only a literal will do.
    pub fn raw(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Text, for elements and for attributes in double quotes.
    pub fn text(&mut self, text: &str) -> &mut Html {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                // Neither allowed in HTML nor readable.
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A name that may break behind its hyphens, dots and equals signs.
    pub fn breakable(&mut self, name: &str) -> &mut Html {
        for part in name.split_inclusive(['-', '.', '=']) {
            self.text(part);
            if part.len() > 1 && part.ends_with(['-', '.', '=']) {
                self.raw("<wbr>");
            }
        }
        self
    }

    /// A term of a description list, with its text.
    pub fn pair(&mut self, term: &'static str, text: &str) -> &mut Html {
        self.raw("<dt>")
            .raw(term)
            .raw("</dt><dd>")
            .text(text)
            .raw("</dd>")
    }

    /// What was made elsewhere.
    pub fn append(&mut self, other: &Html) -> &mut Html {
        self.0.push_str(&other.0);
        self
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_neither_open_a_tag_nor_leave_an_attribute() {
        let mut html = Html::default();
        html.raw("<a title=\"")
            .text("\"><script>alert('x&y')</script>\u{0}");
        assert_eq!(
            html.into_string(),
            "<a title=\"&quot;&gt;&lt;script&gt;alert(&#39;x&amp;y&#39;)&lt;/script&gt;\u{fffd}"
        );
    }

    #[test]
    fn names_break_behind_their_hyphens_and_nowhere_else() {
        let mut html = Html::default();
        html.breakable("leader-cut-from<b>");
        assert_eq!(html.into_string(), "leader-<wbr>cut-<wbr>from&lt;b&gt;");
    }
}
