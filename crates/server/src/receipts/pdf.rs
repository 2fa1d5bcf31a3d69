//! A receipt on a page. The same receipt is always the same bytes; its text is not compressed, so that it can be looked for.

use pdf_writer::{Content, Name, Pdf, Rect, Ref, Str, TextStr};
use types::money::Cents;

use super::Receipt;
use super::winansi::{encode, width};

/// A4, in points.
const PAGE: (f32, f32) = (595.0, 842.0);
const LEFT: f32 = 64.0;
const RIGHT: f32 = 531.0;
/// Where the column of quantities ends.
const QUANTITY: f32 = 410.0;
/// Shades, from black.
const INK: f32 = 0.1;
const SOFT: f32 = 0.42;
const LINE: f32 = 0.8;

#[derive(Clone, Copy)]
enum Font {
    Plain,
    Bold,
}

impl Font {
    const fn name(self) -> Name<'static> {
        match self {
            Self::Plain => Name(b"F1"),
            Self::Bold => Name(b"F2"),
        }
    }
}

/// A page that is written from the top to the bottom.
struct Page {
    content: Content,
    y: f32,
}

impl Page {
    fn text(&mut self, x: f32, text: &str, font: Font, size: f32, gray: f32) {
        self.bytes(x, &encode(text), font, size, gray);
    }

    fn bytes(&mut self, x: f32, bytes: &[u8], font: Font, size: f32, gray: f32) {
        self.content.set_fill_gray(gray);
        self.content.begin_text();
        self.content.set_font(font.name(), size);
        self.content.next_line(x, self.y);
        self.content.show(Str(bytes));
        self.content.end_text();
    }

    /// Text that ends at `x`.
    fn flush_right(&mut self, x: f32, text: &str, font: Font, size: f32, gray: f32) {
        let bytes = encode(text);
        self.bytes(x - width(&bytes, size), &bytes, font, size, gray);
    }

    fn down(&mut self, points: f32) {
        self.y -= points;
    }

    /// Text in as many lines as it needs; ends below the last one.
    fn paragraph(&mut self, (x, until): (f32, f32), text: &str, font: Font, size: f32, gray: f32) {
        for line in wrap(text, until - x, size) {
            self.text(x, &line, font, size, gray);
            self.down(size * 1.45);
        }
    }

    fn rule(&mut self) {
        self.content.set_stroke_gray(LINE).set_line_width(0.75);
        self.content.move_to(LEFT, self.y).line_to(RIGHT, self.y).stroke();
    }
}

/// Breaks text at spaces, and words that are wider than a line anywhere.
fn wrap(text: &str, room: f32, size: f32) -> Vec<String> {
    let mut lines = Vec::new();
    for given in text.lines() {
        let mut line = String::new();
        for word in given.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if width(&encode(&longer), size) <= room {
                line = longer;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            for c in word.chars() {
                line.push(c);
                if width(&encode(&line), size) > room {
                    line.pop();
                    lines.push(std::mem::replace(&mut line, c.to_string()));
                }
            }
        }
        lines.push(line);
    }
    // Nobody's address is longer, and everything must fit on the page.
    lines.truncate(8);
    lines
}

/// The page as a file. `refunded`: what of it has gone back since.
#[must_use]
pub fn render(receipt: &Receipt, refunded: Cents) -> Vec<u8> {
    let mut page = Page { content: Content::new(), y: PAGE.1 - 72.0 };
    head(&mut page, receipt);
    parties(&mut page, receipt);
    table(&mut page, receipt, refunded);
    foot(&mut page, receipt);
    file(receipt, &page.content.finish())
}

fn head(page: &mut Page, receipt: &Receipt) {
    if receipt.test_mode() {
        page.text(LEFT, "TEST MODE: a sandbox payment, no real money moved", Font::Bold, 11.0, SOFT);
        page.down(40.0);
    }
    page.text(LEFT, "Receipt", Font::Bold, 26.0, INK);
    page.flush_right(RIGHT, &receipt.printed_number(), Font::Plain, 14.0, INK);
    page.down(20.0);
    let date = receipt.issued_at.date();
    page.flush_right(RIGHT, &date, Font::Plain, 10.0, SOFT);
    page.text(LEFT, "Paid in full", Font::Plain, 10.0, SOFT);
    page.down(22.0);
    page.rule();
    page.down(26.0);
}

fn parties(page: &mut Page, receipt: &Receipt) {
    const MIDDLE: f32 = 308.0;
    let (top, seller, buyer) = (page.y, &receipt.seller, &receipt.buyer);
    page.text(LEFT, "Sold by", Font::Plain, 9.0, SOFT);
    page.down(16.0);
    let left = (LEFT, MIDDLE - 18.0);
    page.paragraph(left, &seller.name, Font::Bold, 10.5, INK);
    let vat = if seller.vat_id.is_empty() { String::new() } else { format!("VAT ID: {}", seller.vat_id) };
    for text in [&seller.address, &seller.email, &vat] {
        page.paragraph(left, text, Font::Plain, 10.0, INK);
    }
    let bottom = page.y;
    page.y = top;
    page.text(MIDDLE, "Bill to", Font::Plain, 9.0, SOFT);
    page.down(16.0);
    let right = (MIDDLE, RIGHT);
    page.paragraph(right, &buyer.name, Font::Bold, 10.5, INK);
    page.paragraph(right, &buyer.email, Font::Plain, 10.0, INK);
    page.y = page.y.min(bottom);
    page.down(24.0);
}

fn table(page: &mut Page, receipt: &Receipt, refunded: Cents) {
    page.text(LEFT, "Description", Font::Plain, 9.0, SOFT);
    page.flush_right(QUANTITY, "Credits", Font::Plain, 9.0, SOFT);
    page.flush_right(RIGHT, "Amount", Font::Plain, 9.0, SOFT);
    page.down(9.0);
    page.rule();
    page.down(20.0);
    page.flush_right(QUANTITY, &receipt.credits.to_string(), Font::Plain, 10.5, INK);
    page.flush_right(RIGHT, &receipt.amount.to_string(), Font::Plain, 10.5, INK);
    page.paragraph((LEFT, QUANTITY - 70.0), &receipt.description, Font::Plain, 10.5, INK);
    page.down(4.0);
    page.rule();
    page.down(24.0);
    let currency = receipt.currency.to_uppercase();
    page.text(LEFT, &format!("Total ({currency})"), Font::Bold, 12.0, INK);
    page.flush_right(RIGHT, &receipt.amount.to_string(), Font::Bold, 12.0, INK);
    if let Some(tax) = receipt.tax_line() {
        page.down(18.0);
        page.flush_right(RIGHT, &tax, Font::Plain, 10.0, SOFT);
    }
    if refunded.get() > 0 {
        page.down(22.0);
        page.flush_right(RIGHT, &format!("Refunded: {refunded}"), Font::Plain, 10.5, INK);
    }
    page.down(32.0);
}

fn foot(page: &mut Page, receipt: &Receipt) {
    let payment = receipt.payment_ref.as_deref().unwrap_or("none");
    let lines = [
        format!("Payment reference: {payment}"),
        format!("Purchase: {}", receipt.purchase),
        "100 credits = $1. Credits never expire.".to_owned(),
    ];
    for line in lines {
        page.paragraph((LEFT, RIGHT), &line, Font::Plain, 9.0, SOFT);
    }
}

fn file(receipt: &Receipt, content: &[u8]) -> Vec<u8> {
    let [catalog, tree, page_id, plain, bold, content_id, info] = [1, 2, 3, 4, 5, 6, 7].map(Ref::new);
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids([page_id]).count(1);
    let mut page = pdf.page(page_id);
    page.media_box(Rect::new(0.0, 0.0, PAGE.0, PAGE.1)).parent(tree).contents(content_id);
    page.resources().fonts().pair(Font::Plain.name(), plain).pair(Font::Bold.name(), bold);
    drop(page);
    for (id, name) in [(plain, &b"Helvetica"[..]), (bold, &b"Helvetica-Bold"[..])] {
        pdf.type1_font(id).base_font(Name(name)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    pdf.stream(content_id, content);
    let title = format!("Receipt {}", receipt.printed_number());
    pdf.document_info(info).title(TextStr(&title));
    pdf.finish()
}
