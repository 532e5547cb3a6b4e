// A generator in the page: moves in Z, drawn by onnxruntime-web. The files come from notebook 10a_explorer.
const here = new URL('.', import.meta.url).href
const vendor = new URL('../vendor/onnxruntime-web/', here).href

// The runtime and the generators, each loaded when it is first wanted

let runtime
function loadRuntime() {
  if (typeof WebAssembly !== 'object') throw new Error('this browser has no WebAssembly, which the generators need')
  runtime ??= import(`${vendor}ort.wasm.min.mjs`).then(ort => {
    ort.env.wasm.numThreads = 1 // more would need cross-origin isolation
    ort.env.wasm.wasmPaths = vendor
    return ort
  }).catch(e => { runtime = undefined; throw new Error(`the runtime did not load (${e.message})`) })
  return runtime
}

async function fetched(file, tell = () => {}) { // → its bytes; tell hears the share that has come
  const answer = await fetch(`${here}models/${file}`).catch(e => { throw new Error(`${file} could not be fetched (${e.message})`) })
  if (!answer.ok) throw new Error(`${file} could not be fetched (${answer.status} ${answer.statusText})`)
  const total = Number(answer.headers.get('content-length')), parts = []
  let come = 0
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read()
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer())
    parts.push(value)
    tell((come += value.length) / total)
  }
}

const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0))
const vectors = (text, length) => {
  const all = new Float32Array(bytes(text).buffer)
  return Array.from({ length: all.length / length }, (_, i) => all.subarray(i * length, (i + 1) * length))
}

const loaded = {}
export function load(name, tell) { // → a generator, with what its JSON file says
  const start = async () => {
    const kept = JSON.parse(new TextDecoder().decode(await fetched(`${name}.json`))), { page } = kept
    const [ort, file] = await Promise.all([loadRuntime(), fetched(`${name}.onnx`, tell)])
    const session = await ort.InferenceSession.create(file, { executionProviders: ['wasm'] })
    const [maps, height, width] = page.shape
    return { name, ort, session, maps, height, width, length: page.z, classes: page.classes, caption: kept.caption, answers: kept.answers ?? {},
      points: vectors(page.points, page.z), directions: Object.fromEntries(Object.entries(page.directions).map(([k, { z, limit }]) => [k, { z: vectors(z, page.z)[0], limit }])),
      sums: page.sums.map(s => ({ names: s.names, terms: vectors(s.z, page.z) })),
      reference: { z: vectors(page.reference.z, page.z)[0], label: page.reference.label, image: bytes(page.reference.image) } }
  }
  return loaded[name] ??= start().catch(e => { delete loaded[name]; throw e })
}

// Drawing

let queue = Promise.resolve() // one run of a session at a time
export function draw(generator, zs, label = 0) { // vectors → images, each C·H·W numbers in [0, 1]; a label may lie between two classes
  const { ort, session, length, classes } = generator, n = zs.length
  const feeds = { z: new ort.Tensor('float32', Float32Array.from(zs.flatMap(z => [...z])), [n, length]) }
  if (classes) feeds.y = new ort.Tensor('float32', zs.flatMap(() => shared(label, classes)), [n, classes])
  const result = queue.then(async () => {
    const image = (await session.run(feeds)).image.data, size = image.length / n
    return zs.map((_, i) => image.slice(i * size, (i + 1) * size))
  })
  queue = result.catch(() => {})
  return result
}

export const shared = (label, classes) => Array.from({ length: classes }, (_, k) => Math.max(0, 1 - Math.abs(label - k)))

function put(canvas, { maps, height, width }, image) {
  const area = height * width, pixels = new ImageData(width, height)
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(255 * image[(c % maps) * area + i])
    pixels.data[4 * i + 3] = 255
  }
  canvas.width = width
  canvas.height = height
  canvas.getContext('2d').putImageData(pixels, 0, 0)
}

export async function check(generator) { // → the largest difference from PyTorch's picture of the same vector, in grey levels of 255
  const { z, label, image } = generator.reference, [mine] = await draw(generator, [z], label ?? 0)
  return mine.reduce((worst, v, i) => Math.max(worst, Math.abs(Math.round(255 * v) - image[i])), 0)
}

// Latent vectors

const norm = z => Math.hypot(...z)
const plus = (z, ...terms) => z.map((x, i) => terms.reduce((sum, [t, v]) => sum + t * v[i], x)) // z + t·v + …

export function mix(points, weights) { // as long as the points are on average, as `mix` of dcgan.walks
  const z = plus(new Float32Array(points[0].length), ...points.map((p, k) => [weights[k], p]))
  const length = points.reduce((sum, p, k) => sum + weights[k] * norm(p), 0) / (norm(z) || 1)
  return z.map(x => x * length)
}

function uniform(seed) { // numbers in [-1, 1) that are the same at every visit: mulberry32
  return () => {
    seed = (seed + 0x6D2B79F5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1
  }
}
const drawn = (n, length, seed) => { const next = uniform(seed); return Array.from({ length: n }, () => Float32Array.from({ length }, next)) }

// The page

const root = document.getElementById('explorer')
const $ = selector => root.querySelector(selector), all = selector => [...root.querySelectorAll(selector)]
const make = (tag, more = {}, ...children) => { const e = Object.assign(document.createElement(tag), more); e.append(...children); return e }
const hidden = (className, textContent) => make('span', { className, textContent, ariaHidden: 'true' }) // from screen readers, which hear the slider itself

const state = { generator: null, base: 'plane', x: 0.5, y: 0.5, corners: [], walk: 0, sum: null, nth: 4, amounts: {}, label: 3, seed: 0, noise: 0, playing: false }

function latent() { // where the reader is
  const { generator: { points, directions }, base, x, y, walk, sum, amounts } = state
  const k = Math.floor(walk), bases = {
    plane: () => onPlane(x, y),
    walk: () => mix([points[k % points.length], points[(k + 1) % points.length]], [k + 1 - walk, walk - k]),
    sum: () => sum }
  return plus(bases[base](), ...Object.entries(amounts).map(([name, t]) => [t, directions[name].z]))
}

const onPlane = (x, y) => mix(state.corners, [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])

let painting = false, wanted = false
const times = []
async function paint() { // the newest place, as often as the machine can
  wanted = true
  root.dataset.base = state.base
  all('.nine button').forEach((b, i) => b.setAttribute('aria-pressed', state.base === 'sum' && i === state.nth))
  if (painting) return
  painting = true
  try {
    while (wanted) {
      wanted = false
      const { generator } = state, began = performance.now(), [image] = await draw(generator, [latent()], state.label)
      if (generator === state.generator) put($('.picture'), generator, image)
      note(began, performance.now())
      await new Promise(requestAnimationFrame)
    }
  } catch (e) { fail(e) } finally { painting = false }
}

function note(began, now) { // frames of the last second, where there are some
  times.push(now)
  while (times[0] < now - 1000) times.shift()
  const rate = times.length > 5 ? `; ${Math.round(1000 * (times.length - 1) / (now - times[0]))} pictures a second` : ''
  $('.rate').textContent = `drawn in ${(now - began).toFixed(1)} ms${rate}`
}

const say = text => { $('.status').textContent = text; $('.status').classList.remove('failed') }
function fail(e) {
  console.warn(e)
  say(`This did not work: ${e.message}. The page needs WebAssembly and a web server; for these docs that is: python -m http.server -d _docs`)
  $('.status').classList.add('failed')
  root.dataset.state = 'failed'
}

async function choose(name) {
  pause()
  root.dataset.state = 'loading'
  for (const b of all('.tabs button')) b.setAttribute('aria-pressed', b.dataset.name === name)
  say(`Loading the generator of ${name} …`)
  state.wish = name
  try {
    const generator = await load(name, share => { if (state.wish === name) say(`Loading the generator of ${name}: ${Math.round(100 * share)} %`) })
    const off = await check(generator)
    if (state.wish !== name) return
    Object.assign(state, { generator, base: 'plane', x: 0.5, y: 0.5, corners: generator.points.slice(0, 4), walk: 0, sum: null, amounts: {}, label: 3, seed: 0, noise: 0 })
    show(generator)
    say(`Drawn in this browser. On loading, its picture of one latent vector was compared with PyTorch's: they differ by at most ${off} of 255 grey levels.`)
    await Promise.all([paint(), fillPlane()])
    root.dataset.state = 'ready'
  } catch (e) { if (state.wish === name) fail(e) }
}

function show(generator) { // the controls that this generator has
  const { classes, directions, sums } = generator
  $('.panel').hidden = false
  $('.about').textContent = generator.caption
  $('.walk').max = generator.points.length
  $('.walk').value = 0
  sayWalk()
  $('.classes').hidden = !classes
  $('.class').value = 3
  sayClass()
  $('.directions').hidden = !Object.keys(directions).length
  $('.sliders').replaceChildren(...Object.keys(directions).map(slider))
  $('.arithmetic').hidden = !sums.length
  $('.equations').replaceChildren(...sums.map(s => make('button', { type: 'button', textContent: s.names[3], onclick: () => showSum(s) })))
  $('.sum').hidden = $('.noise').hidden = true
  moveHandle()
}

function slider(name) {
  const said = hidden('amount', '0'), ends = make('small', { id: `ends-${name}`, textContent: answer(name) }), words = name.replace('_', ' '), { limit } = state.generator.directions[name]
  const input = make('input', { type: 'range', min: -limit, max: limit, step: 0.05, value: 0, oninput: () => { state.amounts[name] = Number(input.value); said.textContent = input.value; paint() } })
  input.setAttribute('aria-label', words)
  input.setAttribute('aria-describedby', ends.id)
  return make('label', {}, make('span', { textContent: words }), input, said, ends)
}

function answer(name) { // what a reader of faces sees at both ends of a slider
  const a = state.generator.answers[name], [low, , high] = a ?? []
  return !a ? '' : name === 'turn' ? `mean yaw ${low.toFixed(2)} at the left end, ${high.toFixed(2)} at the right end` : `in ${Math.round(100 * low)} % of the faces at the left end, in ${Math.round(100 * high)} % at the right end`
}

const grid = 5 // pictures along a side of the plane; its corners are the middles of the outermost
let filling = 0
async function fillPlane() { // row by row, until it is filled anew
  const { generator, label } = state, mine = ++filling, canvases = all('.plane canvas')
  for (let row = 0; row < grid; row++) {
    const images = await draw(generator, Array.from({ length: grid }, (_, k) => onPlane(k / (grid - 1), row / (grid - 1))), label)
    if (mine !== filling) return
    images.forEach((image, k) => put(canvases[row * grid + k], generator, image))
  }
}

// Moving: plane, walk, class, sums

function moveHandle(x = state.x, y = state.y) {
  Object.assign(state, { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) })
  const handle = $('.handle'), percent = v => Math.round(100 * v)
  handle.style.left = `${100 * (0.5 + state.x * (grid - 1)) / grid}%`
  handle.style.top = `${100 * (0.5 + state.y * (grid - 1)) / grid}%`
  handle.setAttribute('aria-valuenow', percent(state.x))
  handle.setAttribute('aria-valuetext', `${percent(state.x)} % to the right, ${percent(state.y)} % down`)
}

function toPlane(x, y) { pause(); state.base = 'plane'; moveHandle(x, y); paint() }

function pointed(event) {
  const box = $('.plane').getBoundingClientRect(), place = share => (share * grid - 0.5) / (grid - 1)
  toPlane(place((event.clientX - box.left) / box.width), place((event.clientY - box.top) / box.height))
}

function keyed(event) {
  const step = event.shiftKey ? 0.1 : 0.02
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step], PageUp: [0, -0.1], PageDown: [0, 0.1], Home: [-1, -1], End: [1, 1] }
  if (!moves[event.key]) return
  event.preventDefault()
  toPlane(state.x + moves[event.key][0], state.y + moves[event.key][1])
}

function pause() { state.playing = false; $('.play').textContent = 'Play'; $('.play').setAttribute('aria-pressed', false) }

async function play() {
  Object.assign(state, { playing: true, base: 'walk' })
  $('.play').textContent = 'Pause'
  $('.play').setAttribute('aria-pressed', true)
  for (let before = performance.now(); state.playing;) {
    const now = performance.now()
    state.walk = (state.walk + (now - before) / 1500) % state.generator.points.length // from point to point in 1.5 seconds
    before = now
    $('.walk').value = state.walk
    sayWalk()
    await Promise.all([paint(), new Promise(requestAnimationFrame)])
  }
}

function sayWalk() {
  const k = Math.floor(state.walk), share = Math.round(100 * (state.walk - k)), n = state.generator.points.length, from = k % n + 1, to = (k + 1) % n + 1
  $('.walk').setAttribute('aria-valuetext', share ? `between point ${from} and ${to}, ${share} % of the way` : `at point ${from}`)
}

function sayClass() {
  const low = Math.floor(state.label), share = Math.round(100 * (state.label - low))
  const text = share ? `${100 - share} % ${low}, ${share} % ${low + 1}` : `${low}`
  $('.classes .amount').textContent = text
  $('.class').setAttribute('aria-valuetext', text)
}

async function showSum({ names, terms }) { // a − b + c, and eight around it; each of the nine can be chosen
  pause()
  const { generator } = state, [a, b, c] = terms, sum = plus(a, [-1, b], [1, c])
  const noise = drawn(9, generator.length, 1000 + state.noise), nine = noise.map((v, i) => i === 4 ? sum : plus(sum, [0.25, v]))
  const images = await draw(generator, [...terms, ...nine])
  const pictured = (i, label) => { const canvas = make('canvas'); put(canvas, generator, images[i]); canvas.setAttribute('aria-hidden', true); return label ? make('figure', {}, canvas, label) : canvas }
  const take = nth => { Object.assign(state, { base: 'sum', sum: nine[nth], nth }); paint() }
  $('.terms').replaceChildren(...names.slice(0, 3).map((name, i) => pictured(i, `${['', '− ', '+ '][i]}${name}`)))
  $('.nine').replaceChildren(...nine.map((_, i) => {
    const button = make('button', { type: 'button', onclick: () => take(i) }, pictured(3 + i))
    button.setAttribute('aria-label', `${i + 1} of 9: ${names[3]}${i === 4 ? '' : ', with noise'}`)
    return button
  }))
  $('.sum').hidden = $('.noise').hidden = false
  $('.noise').onclick = () => { state.noise++; showSum({ names, terms }).catch(fail) }
  take(4)
}

function start() {
  say('Choose a generator.')
  for (const b of all('.tabs button')) b.onclick = () => choose(b.dataset.name)
  const plane = $('.plane')
  plane.prepend(...Array.from({ length: grid * grid }, () => make('canvas')))
  plane.onpointerdown = event => { event.preventDefault(); plane.setPointerCapture(event.pointerId); $('.handle').focus({ preventScroll: true }); pointed(event) }
  plane.onpointermove = event => { if (plane.hasPointerCapture(event.pointerId)) pointed(event) }
  $('.handle').onkeydown = keyed
  $('.corners').onclick = () => { state.corners = drawn(4, state.generator.length, ++state.seed); toPlane(); fillPlane().catch(fail) }
  $('.play').onclick = () => state.playing ? pause() : play()
  $('.walk').oninput = () => { pause(); Object.assign(state, { base: 'walk', walk: Number($('.walk').value) }); sayWalk(); paint() }
  $('.class').oninput = () => { state.label = Number($('.class').value); sayClass(); paint(); fillPlane().catch(fail) }
  $('.zero').onclick = () => { state.amounts = {}; $('.sliders').replaceChildren(...Object.keys(state.generator.directions).map(slider)); paint() }
  choose('rooms')
}

if (root) start()
