// A weight-balanced tree that never changes: each change gives a new one, so that an old one is a frozen copy at no cost.

/** Items in order, none twice. */
export type Tree<A> = Node<A> | undefined

interface Node<A> {
  readonly size: number
  readonly item: A
  readonly left: Tree<A>
  readonly right: Tree<A>
}

/** Less than 0 when the first comes first, 0 when they are the same. */
export type Compare<A> = (a: A, b: A) => number

/** How many items there are. */
export const size = (tree: Tree<unknown>): number => tree?.size ?? 0

const node = <A>(left: Tree<A>, item: A, right: Tree<A>): Node<A> => ({
  size: size(left) + size(right) + 1,
  item,
  left,
  right
})

// One side may weigh three times the other; a grandchild of twice its sibling's weight asks for a double rotation.
const isHeavy = (a: Tree<unknown>, b: Tree<unknown>): boolean => size(a) + size(b) >= 2 && size(a) > 3 * size(b)

const balanced = <A>(left: Tree<A>, item: A, right: Tree<A>): Node<A> => {
  if (isHeavy(right, left)) {
    const { item: up, left: inner, right: outer } = right!
    return size(inner) < 2 * size(outer)
      ? node(node(left, item, inner), up, outer)
      : node(node(left, item, inner!.left), inner!.item, node(inner!.right, up, outer))
  }
  if (isHeavy(left, right)) {
    const { item: up, left: outer, right: inner } = left!
    return size(inner) < 2 * size(outer)
      ? node(outer, up, node(inner, item, right))
      : node(node(outer, up, inner!.left), inner!.item, node(inner!.right, item, right))
  }
  return node(left, item, right)
}

/** With an item, which takes the place of one that is the same. */
export const insert = <A>(tree: Tree<A>, item: A, compare: Compare<A>): Tree<A> => {
  if (tree === undefined) return node(undefined, item, undefined)
  const side = compare(item, tree.item)
  if (side === 0) return node(tree.left, item, tree.right)
  return side < 0
    ? balanced(insert(tree.left, item, compare), tree.item, tree.right)
    : balanced(tree.left, tree.item, insert(tree.right, item, compare))
}

const withoutFirst = <A>(tree: Node<A>): Tree<A> =>
  tree.left === undefined ? tree.right : balanced(withoutFirst(tree.left), tree.item, tree.right)

/** Without an item. */
export const remove = <A>(tree: Tree<A>, item: A, compare: Compare<A>): Tree<A> => {
  if (tree === undefined) return undefined
  const { item: here, left, right } = tree
  const side = compare(item, here)
  if (side < 0) return balanced(remove(left, item, compare), here, right)
  if (side > 0) return balanced(left, here, remove(right, item, compare))
  return right === undefined ? left : balanced(left, at(right, 0)!, withoutFirst(right))
}

/** The item at an index, from 0. */
export const at = <A>(tree: Tree<A>, index: number): A | undefined => {
  if (tree === undefined) return undefined
  const before = size(tree.left)
  if (index === before) return tree.item
  return index < before ? at(tree.left, index) : at(tree.right, index - before - 1)
}

/** How many items come before the first one for which it is false; it must stay false from there on. */
export const countWhile = <A>(tree: Tree<A>, isBefore: (item: A) => boolean): number => {
  if (tree === undefined) return 0
  return isBefore(tree.item) ? size(tree.left) + 1 + countWhile(tree.right, isBefore) : countWhile(tree.left, isBefore)
}

/** The items from one index up to and without another. */
export const slice = <A>(tree: Tree<A>, from: number, to: number): ReadonlyArray<A> => {
  const items: Array<A> = []
  for (let index = from; index < Math.min(to, size(tree)); index++) items.push(at(tree, index)!)
  return items
}
