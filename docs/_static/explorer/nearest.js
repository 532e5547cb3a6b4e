// A picture's nearest training images, among thumbnails of a procedural world: docs/nearest.py
const here = new URL('nearest/', import.meta.url).href
export const worlds = ['rooms', 'faces'] // licences of other sets allow no copies here

const loaded = {}
async function fetched(world) { // → what is known of the thumbnails, their picture, and their mean colours
  const answer = await fetch(`${here}${world}.json`)
  if (!answer.ok) throw new Error(`the thumbnails of ${world} could not be fetched (${answer.status})`)
  const set = await answer.json(), picture = new Image()
  picture.src = `${here}${world}.webp`
  await picture.decode()
  const { n, columns, size, compared } = set, rows = n / columns
  const canvas = new OffscreenCanvas(size * columns, size * rows), c = canvas.getContext('2d', { willReadFrequently: true })
  c.drawImage(picture, 0, 0)
  const { data } = c.getImageData(0, 0, canvas.width, canvas.height), step = size / compared
  const colours = new Float32Array(n * 3 * compared ** 2)
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      const image = Math.floor(y / size) * columns + Math.floor(x / size)
      const place = Math.floor(y % size / step) * compared + Math.floor(x % size / step)
      for (let k = 0; k < 3; k++) colours[(3 * image + k) * compared ** 2 + place] += data[4 * (y * canvas.width + x) + k] / step ** 2
    }
  }
  return { ...set, picture, colours }
}

export function thumbnails(world) {
  return loaded[world] ??= fetched(world).catch(e => { delete loaded[world]; throw e })
}

function small(image, { maps, height }, side) { // mean colours in grey levels of 255, 3·side²
  const step = height / side, found = new Float32Array(3 * side * side)
  for (let k = 0; k < 3; k++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < height; x++) {
        const to = k * side * side + Math.floor(y / step) * side + Math.floor(x / step)
        found[to] += 255 * image[(k % maps * height + y) * height + x] / step ** 2
      }
    }
  }
  return found
}

export function nearest(set, image, generator, count = 6) { // → [{ index, distance }], the nearest first
  const mine = small(image, generator, set.compared), length = mine.length
  const all = Array.from({ length: set.n }, (_, index) => {
    let sum = 0
    for (let i = 0, at = index * length; i < length; i++) sum += (mine[i] - set.colours[at + i]) ** 2
    return { index, distance: Math.sqrt(sum / length) }
  })
  return all.sort((a, b) => a.distance - b.distance).slice(0, count)
}

export function show(canvas, { picture, columns, size }, index) {
  canvas.width = canvas.height = size
  const x = index % columns * size, y = Math.floor(index / columns) * size
  canvas.getContext('2d').drawImage(picture, x, y, size, size, 0, 0, size, size)
}
