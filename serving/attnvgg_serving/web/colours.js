// A perceptually uniform colour map, computed: a path through OKLCH on which lightness rises
// evenly from dark violet over red and orange to light yellow. Chroma is lowered where sRGB ends.

const LIGHTNESS = [0.2, 0.95];
const HUE = [295, 460];
const CHROMA = 0.19;

/** 256 colours, RGB bytes one after another. */
export const COLOURS = ramp(256);

function ramp(count) {
  const colours = new Uint8ClampedArray(3 * count);
  for (let i = 0; i < count; i++) {
    const t = i / (count - 1);
    const lightness = mix(LIGHTNESS, t);
    const hue = (mix(HUE, t) * Math.PI) / 180;
    let chroma = CHROMA * Math.sin(Math.PI * (0.12 + 0.76 * t));
    while (!inside(toLinear(lightness, chroma, hue))) chroma -= 0.002;
    colours.set(toLinear(lightness, chroma, hue).map(encode), 3 * i);
  }
  return colours;
}

function mix([from, to], t) {
  return from + (to - from) * t;
}

// Björn Ottosson's OKLab, https://bottosson.github.io/posts/oklab/ (public domain).
function toLinear(lightness, chroma, hue) {
  const a = chroma * Math.cos(hue);
  const b = chroma * Math.sin(hue);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function inside(rgb) {
  return rgb.every((x) => x >= -1e-6 && x <= 1 + 1e-6);
}

function encode(x) {
  return 255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * Math.max(x, 0) ** (1 / 2.4) - 0.055);
}
