// Credits as whole micro-credits in a BigInt. No floats.

const MICROS = 1_000_000n;

/** "1,234.5" → 1234500000n; null when it is not an amount. */
export function micros(text) {
  const match = /^([-−]?)([0-9,]+)(?:\.([0-9]{1,6}))?$/.exec(String(text).trim());
  if (!match) return null;
  const size = BigInt(match[2].replaceAll(",", "")) * MICROS + BigInt((match[3] ?? "").padEnd(6, "0"));
  return match[1] ? -size : size;
}

/** 1234500000n → "1,234.50": two to six decimals, thousands separated. */
export function grouped(amount) {
  const size = amount < 0n ? -amount : amount;
  const whole = (size / MICROS).toString().replace(/\B(?=(\d{3})+$)/g, ",");
  const fraction = (size % MICROS).toString().padStart(6, "0").replace(/0{1,4}$/, "");
  return `${amount < 0n ? "-" : ""}${whole}.${fraction}`;
}

/** What an amount that is not negative is worth, about: 1234500000n → "≈ $12.35". A credit is a cent. */
export function usd(amount) {
  const cents = (amount + MICROS / 2n) / MICROS;
  return `≈ $${grouped((cents * MICROS) / 100n)}`;
}

/** An amount as the server sent it (number or text), as people read it. */
export function shown(value) {
  const amount = micros(value);
  return amount === null ? String(value) : grouped(amount);
}

/** The noun that follows an amount. */
export function credits(value) {
  return micros(value) === MICROS ? "credit" : "credits";
}
